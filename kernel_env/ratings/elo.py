"""Rate agents by Bradley & Terry's model, on the scale of Elo.

Two agents meet on each task that both have. The one whose raw private score is better wins; the
weight of a meeting is 1, however many seeds there are. Positions on a leaderboard would not do:
below all of its entries, and above, agents tie that do not score the same.

The model forgets by how much an agent wins. With sixteen tasks an interval is about 200 points
wide, so that most gaps between neighbours are noise. Sources: Bradley & Terry, Biometrika 39
(1952); its use on such tasks: MLE-Dojo, https://arxiv.org/abs/2505.07782.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, TypedDict

from kernel_env.errors import UsageError
from kernel_env.field_docs import show_fields
from kernel_env.ratings.differences import FEWEST_TASKS, share_won
from kernel_env.ratings.intervals import CONFIDENCE, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORIGIN = 1000.0
"""The rating of the anchor; without one, the mean of all."""
SCALE = 400 / math.log(10)
"""Points per unit of strength: 400 points are odds of 10 to 1."""
DRAWS = 1000
"""The number of times that the tasks are drawn again for intervals."""
SAME = 0.01
"""Ratings whose difference is smaller are equal."""

Strengths = Mapping[str, Mapping[str, Sequence[float]]]
"""task → agent → one value per seed, higher is better: the raw private score, its sign changed if
lower is better, and minus infinity for an episode at the floor."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Rating:
    """The rating of an agent."""

    rating: float
    """Points; 1000 is the anchor."""
    meetings: int
    """Number of (other agent, task) pairs behind it. 0: there is nothing to rate it by, and
    `rating` says nothing."""
    interval: Interval | None
    """On tasks like these: the rating if other tasks of the kind were drawn. None with fewer than
    six tasks, and where each draw gives the same rating: that of the anchor, or of an agent that
    won everything, of which draws say nothing."""
    first: float | None
    """Probability of the highest rating, over the same draws; ties are shared. None with fewer
    than six tasks."""
    ranks: tuple[int, int] | None
    """The range of ranks that it has in 95 % of the draws; None with fewer than six tasks."""


def rate(
    strengths: Strengths,
    agents: Sequence[str],
    *,
    anchor: str | None = None,
    families: Mapping[str, str] | None = None,
    draws: int = DRAWS,
) -> dict[str, Rating]:
    """Rate agents, with intervals from drawing the tasks again.

    Args:
        strengths: the values that decide who wins.
        agents: those that are rated.
        anchor: the agent whose rating is 1000; None: the mean is.
        families: task → its family, if tasks are related: families are drawn then.
        draws: the number of draws; 0 for none.

    Raises `UsageError` without choix.
    """
    import numpy as np

    at = agents.index(anchor) if anchor else None
    tasks = sorted(strengths)
    by_family: dict[str, NDArray[np.float64]] = {}
    for task in tasks:
        family = families.get(task, task) if families else task
        wins = task_wins(strengths[task], agents)
        by_family[family] = by_family.get(family, np.zeros_like(wins)) + wins
    nothing = Rating(rating=ORIGIN, meetings=0, interval=None, first=None, ranks=None)
    if not any(wins.any() for wins in by_family.values()):
        return dict.fromkeys(agents, nothing)
    parts = np.stack([by_family[family] for family in sorted(by_family)])
    strength, meetings = strengths_of(parts.sum(axis=0)), meetings_of(parts.sum(axis=0))
    ratings = points_of(strength[:-1], at)
    draw = cache(partial(draw_again, parts, at, strength))
    drawn = [draw(counts) for counts in draw_counts(len(parts), draws)]
    return {
        agent: Rating(
            rating=float(ratings[index]), meetings=int(meetings[index]), **among(drawn, index)
        )
        if meetings[index]
        else nothing
        for index, agent in enumerate(agents)
    }


def task_wins(
    values: Mapping[str, Sequence[float]], agents: Sequence[str]
) -> "NDArray[np.float64]":
    """Return the share of pairs of seeds that each agent wins against each other on a task.

    Ties count as half. The matrix has the shape (agents, agents); a pair that met sums to 1.
    """
    import numpy as np

    wins = np.zeros((len(agents), len(agents)))
    for i, a in enumerate(agents):
        for j, b in enumerate(agents):
            if i != j and values.get(a) and values.get(b):
                wins[i, j] = share_won(values[a], values[b])
    return wins


def fit(
    wins: "NDArray[np.float64] | Sequence[Sequence[float]]",
    *,
    prior: float = 1.0,
    anchor: int | None = None,
) -> "NDArray[np.float64]":
    """Fit Bradley & Terry's model: 1000 + 400 / ln 10 · (strength - that of the anchor).

    A phantom agent ties once with each agent, and is left out of the result. With it the fit exists
    although an agent won, or lost, everything, and although groups never met; it moves ratings
    towards each other, less the more tasks there are. An agent that met nobody has the phantom's
    strength and moves no one else.

    Args:
        wins: how often each agent (row) won against each other (column), shape (n, n); ties as
            half. The diagonal is 0.
        prior: the weight of the phantom's ties; 0: no phantom.
        anchor: the row whose rating is 1000; None: the mean is.

    Returns:
        Ratings, shape (n,).

    Raises `UsageError` without choix, and for `prior=0` if no finite ratings exist.
    """
    return points_of(strengths_of(wins, prior)[: len(wins)], anchor)


def strengths_of(
    wins: "NDArray[np.float64] | Sequence[Sequence[float]]",
    prior: float = 1.0,
    start: "NDArray[np.float64] | None" = None,
) -> "NDArray[np.float64]":
    """Fit the logarithms of strengths, with that of the phantom last if there is one.

    A start near the result, as for draws of the same tasks, saves time at a lower precision, about
    0.01 points.
    """
    import numpy as np

    try:
        import choix
    except ImportError as error:
        raise UsageError(
            "ratings need the extra report (choix is not installed); run: pip install"
            " 'kernel-env[report]'"
        ) from error
    table = np.asarray(wins, dtype=float)
    if prior:
        table = np.pad(table, (0, 1), constant_values=prior / 2)
        table[-1, -1] = 0
    precision = 1e-8 if start is None else 1e-5
    try:
        found = choix.ilsr_pairwise_dense(
            table, initial_params=start, max_iter=10_000, tol=precision
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            "no finite ratings: an agent won or lost everything, or groups never met; use a prior"
        ) from error
    return np.asarray(found)


def points_of(strengths: "NDArray[np.float64]", anchor: int | None) -> "NDArray[np.float64]":
    """Return strengths as points, 1000 for the anchor, or for the mean without one."""
    zero = strengths.mean() if anchor is None else strengths[anchor]
    return ORIGIN + SCALE * (strengths - zero)  # type: ignore[no-any-return]


def expected_share(rating: float, other: float) -> float:
    """Return the probability of winning that two ratings imply (Elo's formula)."""
    return 1 / (1 + 10 ** ((other - rating) / 400))


def draw_counts(n: int, draws: int) -> list[tuple[int, ...]]:
    """Draw n of n tasks with replacement, some times: how often each was drawn. Always the same.

    Nothing is drawn from fewer than six: such intervals would be too narrow.
    """
    source = random.Random(0)  # noqa: S311  # no secret
    if n < FEWEST_TASKS:
        return []
    drawn = (source.choices(range(n), k=n) for _ in range(draws))
    return [tuple(each.count(index) for index in range(n)) for each in drawn]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The ratings of one draw of the tasks."""

    ratings: "NDArray[np.float64]"
    """Shape (n,); not a number for agents that met nobody on the tasks drawn."""

    def rank(self, index: int) -> int:
        """Return the rank of an agent, 1 for the first; equals share the better one."""
        return 1 + int((self.ratings > self.ratings[index] + SAME).sum())

    def first(self, index: int) -> float:
        """Return the agent's share of the first place."""
        if self.rank(index) > 1:
            return 0.0
        return 1 / int((abs(self.ratings - self.ratings[index]) <= SAME).sum())


def draw_again(
    parts: "NDArray[np.float64]",
    anchor: int | None,
    start: "NDArray[np.float64]",
    counts: tuple[int, ...],
) -> Draw:
    """Fit the tasks that were drawn.

    Args:
        parts: the wins of each task, shape (tasks, n, n).
        anchor: the row whose rating is 1000; None: the mean is.
        start: the strengths over all tasks.
        counts: how often each task was drawn.
    """
    import numpy as np

    wins = np.tensordot(np.array(counts, dtype=float), parts, axes=1)
    ratings = points_of(strengths_of(wins, start=start)[:-1], anchor)
    ratings[meetings_of(wins) == 0] = np.nan
    return Draw(ratings=ratings)


def meetings_of(wins: "NDArray[np.float64]") -> "NDArray[np.int_]":
    """Count the meetings of each agent: a pair of agents on a task is one."""
    import numpy as np

    return np.asarray(np.rint((wins + wins.T).sum(axis=1)), dtype=int)


class OverDraws(TypedDict):
    """The fields of a `Rating` that come from draws."""

    interval: Interval | None
    first: float | None
    ranks: tuple[int, int] | None


def among(drawn: Sequence[Draw], index: int) -> OverDraws:
    """Summarise the draws in which an agent met another."""
    import numpy as np

    there = [draw for draw in drawn if not np.isnan(draw.ratings[index])]
    if not there:
        return {"interval": None, "first": None, "ranks": None}
    ends = (50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE)
    low, high = np.percentile([draw.ratings[index] for draw in there], ends)
    best, worst = np.percentile([draw.rank(index) for draw in there], ends, method="nearest")
    return {
        "interval": Interval(low=float(low), high=float(high)) if high - low > SAME else None,
        "first": math.fsum(draw.first(index) for draw in there) / len(drawn),
        "ranks": (int(best), int(worst)),
    }
