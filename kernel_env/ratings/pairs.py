"""Compare each two agents, and say in a sentence what a table shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from kernel_env.field_docs import show_fields
from kernel_env.ratings.differences import (
    FEWEST_TASKS,
    LEVEL,
    holm,
    share_won,
    sign_flip_p,
    smallest_p,
    tasks_needed,
)
from kernel_env.ratings.elo import Strengths
from kernel_env.ratings.estimates import Seeds
from kernel_env.ratings.intervals import Interval, mean, on_tasks_like_these
from kernel_env.untrusted_text import quote_name

Verdict = Literal["differs", "noise", "too few tasks"]
"""`differs`: by more than noise, which is a Holm-adjusted p below 5 %."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two agents on the tasks that both have."""

    a: str
    b: str
    tasks: int
    difference: float
    """The mean over tasks of A's cell less B's."""
    interval: Interval | None
    """On tasks like these, by Student's t; None for one task."""
    p: float
    """The probability of such a difference by chance; see `sign_flip_p`."""
    p_adjusted: float
    """The same, adjusted for the number of pairs; see `holm`."""
    won: float
    """P(A > B): the mean over tasks of the share of pairs of seeds in which A's score is better."""
    verdict: Verdict


def pairs_of(agents: Sequence[str], seeds: Mapping[str, Seeds], strengths: Strengths) -> list[Pair]:
    """Compare each two agents that have a task in common.

    Args:
        agents: their names, in the order in which pairs are named.
        seeds: agent → task → values of the measure.
        strengths: task → agent → raw scores, higher is better.
    """
    found = []
    for a, b in combinations(agents, 2):
        common = sorted(seeds[a].keys() & seeds[b].keys())
        if common:
            differences = [mean(seeds[a][task]) - mean(seeds[b][task]) for task in common]
            won = mean([share_won(strengths[task][a], strengths[task][b]) for task in common])
            found.append((a, b, differences, won, sign_flip_p(differences)))
    adjusted = holm([p for *_, p in found])
    return [
        Pair(
            a=a,
            b=b,
            tasks=len(differences),
            difference=mean(differences),
            interval=on_tasks_like_these(differences),
            p=p,
            p_adjusted=p_adjusted,
            won=won,
            verdict=verdict_of(len(differences), p_adjusted),
        )
        for (a, b, differences, won, p), p_adjusted in zip(found, adjusted, strict=True)
    ]


def verdict_of(tasks: int, p_adjusted: float) -> Verdict:
    """Return what an adjusted p-value over some tasks says."""
    if tasks < FEWEST_TASKS:
        return "too few tasks"
    return "differs" if p_adjusted < LEVEL else "noise"


def first_place(agents: Sequence[str], pairs: Sequence[Pair]) -> str:
    """Return the first agent if it differs from every other one; else an empty text.

    Args:
        agents: the best first.
        pairs: in which the better agent is A.
    """
    others = {pair.b for pair in pairs if pair.a == agents[0] and is_better(pair)} if agents else ()
    return agents[0] if len(agents) > 1 and others == set(agents[1:]) else ""


def is_better(pair: Pair) -> bool:
    """Return whether A is better than B by more than noise."""
    return pair.verdict == "differs" and pair.difference > 0


def sentence_of(agents: Sequence[str], pairs: Sequence[Pair]) -> str:
    """Say which of the differences in a table are more than noise.

    Args:
        agents: those compared, the best first.
        pairs: as `pairs_of` returns them.
    """
    if len(agents) < 2:
        return "Fewer than two agents: nothing is compared."
    if not pairs:
        return "No two agents have a task in common: nothing is compared."
    n, tasks = len(pairs), max(pair.tasks for pair in pairs)
    of = f"Of {n} pair{'s' * (n > 1)}, "
    if tasks < FEWEST_TASKS:
        return f"{of}none can be told apart: {number_of(tasks)} too few to tell."
    differ = sum(pair.verdict == "differs" for pair in pairs)
    first = first_place(agents, pairs)
    place = (
        f"the first place is that of {quote_name(first)}"
        if first
        else ("the first place is not decided")
    )
    text = f"{of}{differ or 'none'} differ{'s' * (differ < 2)} by more than noise; {place}."
    if smallest_p(tasks, n) >= LEVEL:
        text += f" With {tasks} tasks none of {n} pairs can: it takes {tasks_needed(n)} tasks."
    return text


def number_of(tasks: int) -> str:
    """Return a number of tasks with its verb."""
    return "1 task is" if tasks == 1 else f"{tasks} tasks are"
