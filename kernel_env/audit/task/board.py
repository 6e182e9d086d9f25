"""Check the leaderboard: trivial submissions rank near the bottom, the answers at the top."""

import os
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from kernel_env import temporary
from kernel_env.audit.task.finding import Finding, failed, not_applicable, not_run, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest
from kernel_env.episode import EpisodeConfig
from kernel_env.errors import KernelEnvError, SubmissionError, TaskError, UnknownName, UsageError
from kernel_env.grading.host import Grader
from kernel_env.grading.metric import BUILT_IN
from kernel_env.runner import Plan, run_episode
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import Task, spec
from kernel_env.tasks.columns import numbers
from kernel_env.tasks.prepare import grading_spec
from kernel_env.tasks.spec import OTHER_SOLUTION, SOLUTION

MAX_TRIVIAL_POSITION = 0.25
"""Largest share of the entries that a submission without information can beat."""
MIN_ENTRIES = 4
"""Fewest entries for which `MAX_TRIVIAL_POSITION` is at least one entry."""
ROUNDING = 1e-9
"""Largest difference of a perfect score to the exact one."""
MIN_SOLUTION_POSITION = 0.5
"""Share of the entries that the solution has to exceed."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A submission's place on the public and the private leaderboard together."""

    position: float
    """Share of the entries beaten, the higher one of the two leaderboards."""
    rank: int
    """The worse rank of the two leaderboards."""
    entries: int
    """Entries of the smaller leaderboard; 0 for a task without one."""
    public_score: float
    private_score: float

    @property
    def scores(self) -> str:
        """Return public / private score, as text."""
        return f"{self.public_score:.5g} / {self.private_score:.5g}"


async def grade_table(subject: TaskUnderTest, table: pd.DataFrame, grader: Grader) -> Standing:
    """Grade a table as a submission.

    Raises:
        SubmissionError: the table is no valid submission.
        TaskError: the task's own data or metric fails.
    """
    data = table[subject.task.scoring.schema.columns].to_csv(index=False).encode()
    scores = await grader.grade(
        data, grading_spec(subject.task, subject.prepared), ("Public", "Private")
    )
    assert scores.public is not None
    assert scores.private is not None
    board, higher_is_better = subject.task.leaderboard, subject.task.scoring.higher_is_better
    public = board.place(scores.public, "Public", higher_is_better=higher_is_better)
    private = board.place(scores.private, "Private", higher_is_better=higher_is_better)
    places = [place for place in (public, private) if place is not None]
    return Standing(
        position=max((place.position for place in places), default=0.0),
        rank=max((place.rank for place in places), default=1),
        entries=min((place.entries for place in places), default=0),
        public_score=scores.public,
        private_score=scores.private,
    )


async def check_entry_count(subject: TaskUnderTest, _: Grader) -> list[Finding]:
    """Check that a reference leaderboard has enough entries to rank a submission."""
    check, board = "leaderboard", subject.task.leaderboard
    count = max(len(board.public), len(board.private))
    if board.kind == "reference" and count < MIN_ENTRIES:
        return [
            not_run(
                check,
                f"{count} reference entries, expected at least {MIN_ENTRIES};"
                f" run: kernel-env tasks population {subject.task.folder} --write",
            )
        ]
    return [ok(check, f"{count:,} {board.kind} entries")]


async def check_sample(subject: TaskUnderTest, grader: Grader) -> list[Finding]:
    """Check that the sample submission is valid and near the bottom of the leaderboard."""
    check = "sample submission"
    try:
        data = (subject.public / "sample_submission.csv").read_bytes()
        await grader.grade(
            data, grading_spec(subject.task, subject.prepared), ("Public", "Private")
        )
        found = await grade_table(subject, subject.sample, grader)
    except SubmissionError as error:
        return [failed(check, f"rejected: {error}")]
    except TaskError as error:
        return [failed(check, str(error))]
    if found.position > MAX_TRIVIAL_POSITION and found.entries < MIN_ENTRIES:
        return [not_applicable(check, f"valid, but {too_few_entries(found)}")]
    if found.position > MAX_TRIVIAL_POSITION:
        return [
            failed(
                check,
                f"{standing_text(found)}, expected at most {100 * MAX_TRIVIAL_POSITION:.0f} %;"
                " write values that do not depend on the answers",
            )
        ]
    return [ok(check, f"valid; {standing_text(found)}")]


async def check_constant_answer(subject: TaskUnderTest, grader: Grader) -> list[Finding]:
    """Check that the best constant answer stays near the bottom of the leaderboard."""
    check = "constant answer"
    if subject.train is None:
        return [not_applicable(check, "there is no train.csv")]
    best: tuple[str, Standing] | None = None
    for values in constant_answers(subject, subject.train):
        table = subject.sample[subject.ids].assign(**values)
        try:
            found = await grade_table(subject, table, grader)
        except SubmissionError:
            continue  # the metric rejects this constant, for example a class where it expects ranks
        except TaskError as error:
            return [failed(check, str(error))]
        if best is None or found.position > best[1].position:
            best = ", ".join(map(str, values.values())), found
    if best is None:
        return [not_applicable(check, "the metric accepts no constant")]
    if best[1].position > MAX_TRIVIAL_POSITION and best[1].entries < MIN_ENTRIES:
        return [not_applicable(check, too_few_entries(best[1]))]
    if best[1].position > MAX_TRIVIAL_POSITION:
        return [
            failed(
                check,
                f"the constant {best[0]} {standing_text(best[1])}, expected at most"
                f" {100 * MAX_TRIVIAL_POSITION:.0f} %; choose another metric, or make a new"
                " leaderboard",
            )
        ]
    return [ok(check, f"the best constant, {best[0]}, {standing_text(best[1])}")]


def constant_answers(subject: TaskUnderTest, train: pd.DataFrame) -> list[dict[str, str | float]]:
    """Return constants to try: the most frequent value, each class, the mean and the median."""
    most_frequent: dict[str, str | float] = {t: train[t].mode().iloc[0] for t in subject.targets}
    found = [most_frequent]
    numeric = {t: numbers(train[t]) for t in subject.targets}
    if all(values is not None for values in numeric.values()):
        found.append({t: float(np.nanmean(v)) for t, v in numeric.items() if v is not None})
        found.append({t: float(np.nanmedian(v)) for t, v in numeric.items() if v is not None})
    if subject.is_classification and len(subject.targets) == 1:
        (target,) = subject.targets
        classes = train[target].value_counts().index[1:20]
        found += [{target: str(value)} for value in classes]
    return found


async def check_oracle(subject: TaskUnderTest, grader: Grader) -> list[Finding]:
    """Check that the answers, graded as a submission, score perfectly and are at the top.

    The built-in metrics have a perfect score: 0 for a loss, 1 for the others. MAP@k has none, as
    rows without true labels count 0; nor has the concordance of times, as an event and a censored
    row can have the same.
    """
    check, scoring, metric = "oracle", subject.task.scoring, subject.task.file.metric.name
    try:
        found = await grade_table(subject, subject.answers, grader)
    except (SubmissionError, TaskError) as error:
        return [failed(check, f"the answers cannot be graded: {error}")]
    perfect = float(scoring.higher_is_better)
    errors = (abs(found.public_score - perfect), abs(found.private_score - perfect))
    if metric in BUILT_IN and not BUILT_IN[metric].extra and max(errors) > ROUNDING:
        return [
            failed(
                check,
                f"the answers score {found.scores}, expected {perfect:.0f} on both splits;"
                f" check answers.csv: each split needs rows of every class",
            )
        ]
    if not found.entries:
        return [not_applicable(check, f"scores {found.scores}; the task has no leaderboard")]
    if found.rank > 1:
        return [
            failed(
                check,
                f"the answers score {found.scores} and rank {found.rank} of {found.entries},"
                " expected rank 1; check the metric's direction, the answers and leaderboard.csv",
            )
        ]
    return [ok(check, f"scores {found.scores}; no entry of the leaderboard is better")]


async def check_solutions(
    task: Task,
    sandbox: str,
    grader: Grader,
    *,
    gpus: int | None = None,
    gpu_device: str = "",
) -> list[Finding]:
    """Check that each solution notebook, played by the baseline agent, beats half the entries.

    A private task's may beat fewer. A solution for another image runs in containers only.
    """
    if not task.solution.is_file():
        return [not_applicable("solution", f"there is no {SOLUTION}")]
    found = []
    for image in ("", *task.other_solutions):
        check = f"solution {image}".strip()
        with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as folder:
            try:
                config = EpisodeConfig(
                    task=task,
                    agent="baseline",
                    sandbox=sandbox,
                    image=image,
                    out=folder,
                    gpus=gpus,
                    gpu_device=gpu_device,
                )
            except UnknownName as error:
                found.append(failed(check, f"{OTHER_SOLUTION.format(image=image)}: {error}"))
            except UsageError as error:  # this machine lacks the GPU that the task needs
                found.append(not_run(check, str(error)))
            else:
                if image and choose(sandbox, trusted=True)[0] != "docker":
                    found.append(not_run(check, f"needs the image {image} in a container"))
                else:
                    found.append(await check_solution(check, task, config, grader))
    return found


async def check_solution(check: str, task: Task, config: EpisodeConfig, grader: Grader) -> Finding:
    """Play one solution notebook and check its score.

    Args:
        check: the name of the check.
        task: the task, which has a solution for the episode's image.
        config: the episode of the baseline agent.
        grader: a grading process.
    """
    notebook = task.solution_for(config.image_name).name
    try:
        record = await run_episode(Plan(config=config), grader=grader)
    except KernelEnvError as error:
        return failed(check, str(error))
    if record.error or record.status != "finished":
        reason = record.error or f"its episode ended as {record.status!r}"
        return failed(check, f"{notebook} did not complete: {reason}")
    if record.public_score is None or record.private_score is None:
        return failed(check, f"{notebook} leaves no valid submission")
    positions = [p for p in (record.position_public, record.position_private) if p is not None]
    shares = " / ".join(f"{100 * position:.0f} %" for position in positions)
    result = f"scores {record.public_score:.5g} / {record.private_score:.5g}"
    if not positions:
        return not_applicable(check, f"{result}; the task has no leaderboard")
    result = f"{result} and beats {shares} of the leaderboard"
    if min(positions) > MIN_SOLUTION_POSITION:
        return ok(check, f"{result}, in {record.seconds:.0f} s")
    expected = f"more than {100 * MIN_SOLUTION_POSITION:.0f} %"
    if spec.missing_to_publish(task):
        reason = f"a private task needs no good solution, one that others use needs {expected}"
        return not_applicable(check, f"{result}; {reason}")
    return failed(check, f"{result}, expected {expected}; improve the notebook")


def too_few_entries(found: Standing) -> str:
    """Explain that the leaderboard is too small for the check, as text."""
    return (
        f"the leaderboard has {found.entries} entries, expected at least {MIN_ENTRIES};"
        " run: kernel-env tasks population"
    )


def standing_text(found: Standing) -> str:
    """Return a standing as text."""
    return (
        f"scores {found.scores} and beats {100 * found.position:.0f} % of {found.entries} entries"
    )
