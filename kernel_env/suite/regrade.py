"""Grade the kept submissions of finished episodes again, after a change of what grades them.

Nothing is played and no model is called. Submissions that the former grader rejected were not kept,
and stay rejected.
"""

from dataclasses import replace
from pathlib import Path

from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.result import EpisodeResult, result_of
from kernel_env.episode.step import CellExecuted, Graded, Progress, Rejected, Step
from kernel_env.episode.submissions import grade_of, submission_file
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import SubmissionError, UsageError
from kernel_env.grading.grade import Grade
from kernel_env.grading.host import Grader
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import grading_spec, prepare


async def regrade(notebook: Path, task: Task, grader: Grader) -> EpisodeResult:
    """Return the result of an episode with new grades of its submissions.

    Which submission counts is decided anew. Rewards stay what the agent was given.

    Args:
        notebook: the episode's notebook; journal and submissions are beside it.
        task: the task as it is now.
        grader: grades the submissions.

    Raises:
        UsageError: the journal or a submission cannot be read.
        TaskError: the new grader fails.
    """
    folder = notebook.parent
    trajectory = read_journal(folder / JOURNAL)
    steps: list[Step] = []
    grades: dict[int, Grade] = {}
    for step in trajectory.steps:
        new, grade = await regraded(step, folder, task, grader)
        steps.append(new)
        if grade is not None:
            grades[step.number] = grade
    header = replace(
        trajectory.header,
        metric=task.scoring.title,
        higher_is_better=task.scoring.higher_is_better,
        leaderboard_kind=task.leaderboard.kind,
    )
    chosen = chosen_step(replace(trajectory, header=header, steps=steps))
    grade = grades.get(chosen) if chosen else None
    assert trajectory.ending is not None, "a finished episode has an ending"
    ending = replace(trajectory.ending, chosen_step=chosen if grade else None, grade=grade)
    return result_of(replace(trajectory, header=header, steps=steps, ending=ending), notebook)


def chosen_step(trajectory: Trajectory) -> int | None:
    """Return the step whose submission counts by the steps' grades; None if there is none."""
    if trajectory.header.counts == "last":
        return trajectory.ending.chosen_step if trajectory.ending else None
    progress = Progress(higher_is_better=trajectory.header.higher_is_better)
    for step in trajectory.steps:
        progress = progress.after(step)
    return progress.best.step if progress.best else None


async def regraded(
    step: Step, folder: Path, task: Task, grader: Grader
) -> tuple[Step, Grade | None]:
    """Return a step with the new grade of its submission, and that grade on both splits."""
    outcome = step.outcome
    if not isinstance(outcome, CellExecuted) or not isinstance(outcome.submission, Graded):
        return step, None
    path = submission_file(folder, step.number)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be graded again: {error.strerror}") from error
    try:
        scores = await grader.grade(data, grading_spec(task, prepare(task)), ("Public", "Private"))
    except SubmissionError as error:
        rejected = replace(outcome, submission=Rejected(reason=str(error)))
        return replace(step, outcome=rejected), None
    grade = grade_of(scores, task)
    public = replace(grade, private_score=None, private=None)
    new = replace(outcome.submission, grade=public)
    return replace(step, outcome=replace(outcome, submission=new)), grade
