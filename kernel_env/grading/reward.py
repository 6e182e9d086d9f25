"""What a graded submission is worth to a learner.

A reward is a function of the grade and of the best grade before it; a plug-in is any
callable with the same arguments. `position` says how good each submission is: its sum
over an episode grows with the number of submissions, so a learner that maximises a
return wants `improvement`, or the best `position` of the episode.
"""

from collections.abc import Callable

from kernel_env.errors import UnknownName
from kernel_env.grading import leaderboard
from kernel_env.grading.grade import Grade

Reward = Callable[[Grade, Grade | None, bool], float]
"""(the grade, the best grade before or None, higher_is_better) → the reward."""


def position(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Share of the public leaderboard that the score beats, 0 … 1; 0 without a leaderboard."""
    return grade.public.position if grade.public else 0.0


def raw(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """The public score itself, in the metric's own units and direction."""
    return grade.public_score


def improvement(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:
    """How much better the public score is than the best before; 0 for the first and for worse."""
    if best is None:
        return 0.0
    gain = grade.public_score - best.public_score
    return max(0.0, gain if higher_is_better else -gain)


def human_rank(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """MLE-Dojo's HumanRank over the boards that may be known; 0 without any."""
    return leaderboard.human_rank(grade.public, grade.private) or 0.0


TITLES: dict[Reward, str] = {
    position: "the share of the public leaderboard that it beats",
    raw: "the public score",
    improvement: "the gain over the best public score before",
    human_rank: "the share of human teams that it equals or beats",
}


def title(reward: Reward) -> str:
    """What a reward is, for a reader."""
    return TITLES.get(reward, getattr(reward, "__name__", "a reward of the caller's own"))


STOCK: dict[str, Reward] = {
    "position": position,
    "raw": raw,
    "improvement": improvement,
    "human_rank": human_rank,
}


def find(reward: str | Reward) -> Reward:
    """A reward by name, or the callable itself. Raises `UnknownName`."""
    if callable(reward):
        return reward
    if reward not in STOCK:
        raise UnknownName("reward", reward, STOCK)
    return STOCK[reward]
