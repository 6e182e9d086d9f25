"""Compare the steps of a replay with the recorded ones."""

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from kernel_env.audit.trajectory.outputs import (
    Difference,
    OutputComparison,
    compare_outputs,
    compare_texts,
)
from kernel_env.audit.trajectory.verdict import (
    ScoreComparison,
    StepComparison,
    SubmissionComparison,
)
from kernel_env.episode.actions import GetHistory
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    Progress,
    Rejected,
    Step,
)
from kernel_env.episode.trajectory import Trajectory
from kernel_env.grading.grade import Grade
from kernel_env.kernel.cell import Cell

EXACT = 1e-9
"""The tolerance of a score, relative, if the same bytes were graded."""
TOLERANCE = 1e-3
"""The default tolerance of a score, relative, if other bytes were graded."""
REPEATS = "it repeats earlier steps, which are compared themselves"
Days = tuple[date | None, date | None]


def compare_step(recorded: Step, replayed: Step, *, tolerance: float = TOLERANCE) -> StepComparison:
    """Compare a replayed step with the recorded one."""
    days = day_of(recorded), day_of(replayed)
    submission = compare_submissions(recorded.submission, replayed.submission, tolerance)
    found, note = OutputComparison(sameness="equal"), ""
    match recorded.outcome, replayed.outcome:
        case InfoShown(), InfoShown() if isinstance(recorded.action, GetHistory):
            found, note = OutputComparison(sameness="not compared"), REPEATS
        case InfoShown(text=one), InfoShown(text=other):
            found = compare_texts("text", one, other, days=days)
        case (CellExecuted(cell=one), CellExecuted(cell=other)) | (
            CodeValidated(cell=one),
            CodeValidated(cell=other),
        ):
            found, note = compare_cells(one, other, days)
    differences = found.differences
    if submission and not submission.reproduced:
        differences += (submission.difference or score_difference(submission),)
    return StepComparison(
        step=recorded.number,
        action=recorded.action.kind,
        outputs=found.sameness,
        masks=dict(found.masks),
        differences=differences,
        submission=submission,
        note=note,
    )


def day_of(step: Step) -> date | None:
    """Return the day on which a step began; None if the file does not tell."""
    with suppress(ValueError):
        return datetime.fromisoformat(step.started).date()
    return None


# ── cells ─────────────────────────────────────────────────────────────────────────────────


def compare_cells(recorded: Cell, replayed: Cell, days: Days) -> tuple[OutputComparison, str]:
    """Compare two runs of a cell; also returns why outputs were not compared."""
    ends = end_of(recorded), end_of(replayed)
    if ends[0] != ends[1]:
        difference = Difference(where="the end of the cell", recorded=ends[0], replayed=ends[1])
        return OutputComparison(sameness="different", differences=(difference,)), ""
    if ends[0] != ENDED:
        note = f"{ends[0]}: what it had displayed by then is not compared"
        return OutputComparison(sameness="not compared"), note
    return compare_outputs(recorded.outputs, replayed.outputs, days=days), ""


ENDED, TIMED_OUT = "the cell ended", "the cell reached its time limit"
CRASHED, CRASHED_LOST = "the cell crashed the kernel", "the kernel crashed and state was lost"


def end_of(cell: Cell) -> str:
    """Return how a cell ended, as text."""
    if cell.state_lost is not None:
        return CRASHED_LOST
    if cell.broke is not None or cell.undone:
        return CRASHED
    return TIMED_OUT if cell.timed_out else ENDED


# ── submissions ───────────────────────────────────────────────────────────────────────────

Submission = Graded | Rejected | None


def compare_submissions(
    recorded: Submission, replayed: Submission, tolerance: float
) -> SubmissionComparison | None:
    """Compare what a step submitted in two runs; None if neither submitted anything."""
    match recorded, replayed:
        case None, None:
            return None
        case Graded(), Graded():
            return compare_grades(
                recorded.grade,
                replayed.grade,
                same_bytes=recorded.sha256 == replayed.sha256,
                tolerance=tolerance,
            )
        case Rejected(reason=one), Rejected(reason=other) if one == other:
            return SubmissionComparison(same_bytes=None)
    return SubmissionComparison(
        same_bytes=False,
        difference=Difference(
            where="submission", recorded=describe(recorded), replayed=describe(replayed)
        ),
    )


def describe(submission: Submission) -> str | None:
    """Describe a submission in one line."""
    match submission:
        case Graded(grade=grade):
            return f"graded, public score {grade.public_score:.10g}"
        case Rejected(reason=reason):
            return f"rejected: {reason}"
    return None


def compare_grades(
    recorded: Grade, replayed: Grade, *, same_bytes: bool | None, tolerance: float
) -> SubmissionComparison:
    """Compare two grades. Scores of the same bytes must be equal, apart from rounding."""
    allowed = EXACT if same_bytes else tolerance
    both = recorded.private_score is not None and replayed.private_score is not None
    return SubmissionComparison(
        same_bytes=same_bytes,
        public=compare_scores(recorded.public_score, replayed.public_score, allowed),
        private=compare_scores(recorded.private_score, replayed.private_score, allowed)
        if both
        else None,
    )


def compare_scores(
    recorded: float | None, replayed: float | None, tolerance: float
) -> ScoreComparison:
    """Compare two scores; the tolerance is relative to the larger one."""
    near = recorded == replayed or (
        recorded is not None
        and replayed is not None
        and math.isclose(recorded, replayed, rel_tol=tolerance, abs_tol=0.0)
    )
    return ScoreComparison(
        recorded=recorded, replayed=replayed, reproduced=near, tolerance=tolerance
    )


def score_difference(found: SubmissionComparison) -> Difference:
    """Return the scores of two submissions side by side."""
    name, score = next(
        (name, score)
        for name, score in (("public", found.public), ("private", found.private))
        if score and not score.reproduced
    )
    where = f"{name} score" + (" of the same bytes" if found.same_bytes else "")
    return Difference(where=where, recorded=str(score.recorded), replayed=str(score.replayed))


# ── the submission that counts ────────────────────────────────────────────────────────────


def final_step(trajectory: Trajectory) -> int | None:
    """Return the step whose submission counts, also of an episode that was killed."""
    if trajectory.ending is not None:
        return trajectory.ending.chosen_step
    if trajectory.header.counts == "last":
        graded = [
            step.number
            for step in trajectory.steps
            if isinstance(step.submission, Graded) and step.actor == "agent"
        ]
        return graded[-1] if graded else None
    progress = Progress(higher_is_better=trajectory.header.higher_is_better)
    for step in trajectory.steps:
        progress = progress.after(step)
    return progress.best.step if progress.best else None


@dataclass(frozen=True, kw_only=True)
class Final:
    """The submission that counts."""

    grade: Grade
    sha256: str


def final_of(trajectory: Trajectory) -> Final | None:
    """Return the submission that counts; None if there is none.

    The private score is known once the episode has ended.
    """
    number = final_step(trajectory)
    if number is None or number > len(trajectory.steps):
        return None
    graded = trajectory.steps[number - 1].submission
    if not isinstance(graded, Graded):
        return None
    ending = trajectory.ending
    return Final(
        grade=ending.grade if ending and ending.grade else graded.grade, sha256=graded.sha256
    )


def compare_finals(
    recorded: Trajectory, replayed: Trajectory, tolerance: float
) -> SubmissionComparison | None:
    """Compare the submissions that count; None if neither run has one."""
    one, other = final_of(recorded), final_of(replayed)
    if one and other:
        same = one.sha256 == other.sha256
        return compare_grades(one.grade, other.grade, same_bytes=same, tolerance=tolerance)
    if one is None and other is None:
        return None
    return SubmissionComparison(
        same_bytes=False,
        difference=Difference(
            where="the submission that counts",
            recorded=f"public score {one.grade.public_score:.10g}" if one else None,
            replayed=f"public score {other.grade.public_score:.10g}" if other else None,
        ),
    )
