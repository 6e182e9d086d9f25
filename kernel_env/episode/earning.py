"""Compute the reward of a step, and why it is what it is."""

from dataclasses import replace

from kernel_env.episode.setup import EpisodeSetup
from kernel_env.episode.step import CellExecuted, Graded, Outcome, Progress, Rejected
from kernel_env.episode.submissions import Submissions
from kernel_env.grading.grade import Grade
from kernel_env.grading.reward import FROM_FLOOR


async def earn(
    outcome: Outcome, progress: Progress, setup: EpisodeSetup, submissions: Submissions
) -> tuple[float, str]:
    """Return the reward of a step and the reason for a reader.

    Args:
        outcome: what came of the step.
        progress: the state before it.
        setup: has the reward.
        submissions: know the grade of the sample submission.

    Raises `TaskError` if the sample submission cannot be graded because grading failed.
    """
    if not isinstance(outcome, CellExecuted):
        return 0.0, "only execute_code is graded"
    match outcome.submission:
        case None:
            return 0.0, "no new submission"
        case Rejected():
            return 0.0, "the submission was rejected"
        case Graded() as graded if not graded.is_candidate:
            return 0.0, "the submission does not count"
        case Graded(content=content) if content in progress.contents:
            return 0.0, "the same predictions were graded before"
        case Graded(grade=grade):
            best = await best_before(progress, setup, submissions)
            return setup.reward(grade, best, progress.higher_is_better), setup.reward_title


async def best_before(
    progress: Progress, setup: EpisodeSetup, submissions: Submissions
) -> Grade | None:
    """Return the grade that the next one is compared with; None if there is none."""
    best = progress.best.grade if progress.best else None
    if setup.reward not in FROM_FLOOR:
        return best
    floor = await submissions.floor()
    if floor is None or (best is not None and not progress.better(floor, best)):
        return best
    return replace(floor, private_score=None, private=None)
