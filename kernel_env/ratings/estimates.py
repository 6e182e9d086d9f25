"""Estimate an agent's number from its outcomes: mean over tasks, intervals, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kernel_env.field_docs import show_fields
from kernel_env.ratings.intervals import (
    Interval,
    bounds,
    mean,
    on_tasks_like_these,
    on_these_tasks,
    wilson,
)
from kernel_env.ratings.measures import Measure, TaskFacts
from kernel_env.ratings.outcomes import Outcome

Seeds = Mapping[str, Sequence[float]]
"""task → one value per seed; no task is empty."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number of an agent, and how far it can be trusted."""

    mean: float
    """The mean over tasks of the mean over seeds."""
    tasks: int
    """How many tasks are in it."""
    of: int
    """On how many tasks any agent has this measure."""
    episodes: int
    on_these_tasks: Interval | None
    """If other seeds of the agent ran on the same tasks; None if no task has two seeds."""
    on_tasks_like_these: Interval | None
    """If the tasks were others of the same kind, without values that cannot be; None for one."""
    bounds: Interval | None
    """The mean if every missing task had the worst, and the best, value; None if none is missing,
    or if the measure has no worst and best."""


def seeds_of(
    outcomes: Iterable[Outcome], measure: Measure, facts: Mapping[str, TaskFacts]
) -> dict[str, dict[str, list[float]]]:
    """Return the values of a measure: agent → task → one value per seed.

    Outcomes without a value are left out.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        value = measure.value(outcome, facts[outcome.task])
        if value is not None:
            found.setdefault(outcome.agent, {}).setdefault(outcome.task, []).append(value)
    return found


def estimate(
    seeds: Seeds, of: int, measure: Measure, families: Mapping[str, str] | None = None
) -> Estimate:
    """Estimate an agent's number.

    Args:
        seeds: its values; not empty.
        of: on how many tasks any agent has the measure.
        measure: whether it is limited to 0 to 1, and whether it is a share.
        families: task → family of related tasks; None: each task is its own.
    """
    cells = [mean(values) for values in seeds.values()]
    middle = mean(cells)
    related = [families.get(task, task) for task in seeds] if families else None
    if measure.yes_or_no and not families:
        like: Interval | None = wilson(sum(cells), len(cells))
    else:
        like = on_tasks_like_these(cells, related)
    missing = measure.unit and len(cells) < of
    return Estimate(
        mean=middle,
        tasks=len(cells),
        of=of,
        episodes=sum(map(len, seeds.values())),
        on_these_tasks=on_these_tasks(list(seeds.values())),
        on_tasks_like_these=clipped(like) if measure.unit else like,
        bounds=bounds(middle, len(cells), of) if missing else None,
    )


def clipped(interval: Interval | None) -> Interval | None:
    """Return an interval of values from 0 to 1 without what cannot be."""
    if interval is None:
        return None
    return Interval(low=max(0.0, interval.low), high=min(1.0, interval.high))
