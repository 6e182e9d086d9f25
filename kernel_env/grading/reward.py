"""Define the rewards that a graded submission earns.

A reward is a function of the grade and of the best earlier grade; any callable with the same
arguments can be passed instead. Predictions that were graded before in the episode earn 0, whatever
the order of their rows, and so does a submission whose score the protocol does not count.

`progress` is the one to maximise: it sums to the final position over an episode, so more
submissions of the same quality earn nothing. `final` says what counts in the end and nothing
before. `position` and `raw` rate each submission by itself, so their sum grows with the number of
submissions.
"""

from collections.abc import Callable

from kernel_env.errors import UnknownName
from kernel_env.grading import leaderboard
from kernel_env.grading.grade import Grade

Reward = Callable[[Grade, Grade | None, bool], float]
"""(grade, best earlier grade or None, higher_is_better) → reward."""


def position(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Return the share of the public leaderboard that the score beats.

    From 0 to 1, no unit; 0 without a leaderboard. A tie beats no entry.
    """
    return grade.public.position if grade.public else 0.0


def raw(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Return the public score, in the metric's units, range and direction."""
    return grade.public_score


def progress(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Return the share of the public leaderboard that was gained over the best earlier grade.

    From 0 to 1, no unit; 0 for a score that is not better, and without a leaderboard. The first
    submission is compared with the sample submission. Over an episode the rewards add up to the
    position of the best submission less that of the sample submission.
    """
    return max(0.0, position(grade, None, True) - (position(best, None, True) if best else 0.0))


def final(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Return 0: this reward is paid at the end of an episode; see `at_end`."""
    return 0.0


def at_end(reward: Reward, grade: Grade | None) -> float:
    """Return what a reward pays at the end of an episode, for the submission that counts.

    `final`: the share of the private leaderboard that it beats, from 0 to 1; 0 without a
    submission or a leaderboard. All others: 0.
    """
    return grade.private.position if reward is final and grade and grade.private else 0.0


def improvement(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:
    """Return the gain of the public score over the best earlier one.

    In the metric's units, at least 0; 0 for a score that is not better. The first submission is
    compared with the sample submission; without one, it earns 0.
    """
    if best is None:
        return 0.0
    gain = grade.public_score - best.public_score
    return max(0.0, gain if higher_is_better else -gain)


def human_rank(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:  # noqa: ARG001
    """Return MLE-Dojo's HumanRank: the mean of the two boards' shares, from 0 to 1.

    Only the boards whose place is revealed count; 0 without any. See `leaderboard.human_rank`.
    """
    return leaderboard.human_rank(grade.public, grade.private) or 0.0


FROM_FLOOR = (progress, improvement)
"""Rewards that compare the first submission with the sample submission."""

TITLES: dict[Reward, str] = {
    progress: "the gain in the share of the public leaderboard that the best submission beats",
    final: "the share of the private leaderboard that the submission beats, at the end",
    position: "the share of the public leaderboard that it beats",
    raw: "the public score",
    improvement: "the gain over the best public score before",
    human_rank: "the share of human teams that it equals or beats",
}


def title(reward: Reward) -> str:
    """Return the description of a reward for people."""
    return TITLES.get(reward, getattr(reward, "__name__", "a reward of the caller's own"))


BUILT_IN: dict[str, Reward] = {
    "progress": progress,
    "final": final,
    "position": position,
    "raw": raw,
    "improvement": improvement,
    "human_rank": human_rank,
}


def find(reward: str | Reward) -> Reward:
    """Find a reward by name; a callable is returned as it is. Raises `UnknownName`."""
    if callable(reward):
        return reward
    if reward not in BUILT_IN:
        raise UnknownName("reward", reward, BUILT_IN)
    return BUILT_IN[reward]
