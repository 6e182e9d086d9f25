"""Compute the reward of a step, and why it is what it is."""

from dataclasses import replace

from kernel_env.episode import json_codec
from kernel_env.episode.budget import Spent
from kernel_env.episode.step import CellExecuted, Graded, Outcome, Progress, Rejected, Step
from kernel_env.episode.submissions import Submissions
from kernel_env.grading.grade import Grade
from kernel_env.grading.reward import FROM_FLOOR, at_end


async def charged(
    step: Step, spent: Spent, stored_before: int, progress: Progress, submissions: Submissions
) -> Step:
    """Return an agent's step with its reward, and with what the agent has used.

    Args:
        step: the step, without them.
        spent: what the agent has used, apart from what the step stored.
        stored_before: number of bytes of submissions before the step.
        progress: the state before the step.
        submissions: the submissions after it.

    Raises `TaskError` if the sample submission cannot be graded because grading failed.
    """
    earned, reason = await earn(step.outcome, progress, submissions)
    step = replace(step, reward=earned, reward_reason=reason, spent=spent)
    stored = len(json_codec.step_json(step)) + submissions.stored_bytes - stored_before
    step = replace(step, spent=spent.plus(Spent(output_bytes=stored)))
    if submissions.setup.budget.exhausted(step.spent):
        last = final_reward(progress.after(step), submissions)
        step = replace(step, reward=step.reward + last)
    return step


def final_reward(progress: Progress, submissions: Submissions) -> float:
    """Return what the reward pays at the end of the episode."""
    chosen = submissions.chosen_step(progress)
    grade = submissions.grades[chosen] if chosen else None
    return at_end(submissions.setup.reward, grade)


async def earn(outcome: Outcome, progress: Progress, submissions: Submissions) -> tuple[float, str]:
    """Return the reward of a step and the reason for a reader.

    Args:
        outcome: what came of the step.
        progress: the state before it.
        submissions: know the reward and the grade of the sample submission.

    Raises `TaskError` if the sample submission cannot be graded because grading failed.
    """
    setup = submissions.setup
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
            best = await best_before(progress, submissions)
            return setup.reward(grade, best, progress.higher_is_better), setup.reward_title


async def best_before(progress: Progress, submissions: Submissions) -> Grade | None:
    """Return the grade that the next one is compared with; None if there is none."""
    best = progress.best.grade if progress.best else None
    if submissions.setup.reward not in FROM_FLOOR:
        return best
    floor = await submissions.floor()
    if floor is None or (best is not None and not progress.better(floor, best)):
        return best
    return replace(floor, private_score=None, private=None)
