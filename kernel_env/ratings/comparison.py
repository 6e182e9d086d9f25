"""Compare agents by their records: one frozen value that every table and page shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import UnknownName, UsageError
from kernel_env.field_docs import show_fields
from kernel_env.ratings.cautions import cautions_of
from kernel_env.ratings.elo import DRAWS, Rating, rate
from kernel_env.ratings.estimates import seeds_of
from kernel_env.ratings.frontier import pareto
from kernel_env.ratings.intervals import mean
from kernel_env.ratings.measures import (
    MEASURES,
    SCORES,
    Measure,
    References,
    facts_of,
)
from kernel_env.ratings.outcomes import Label, Outcome, Outcomes, no_label, outcomes_of
from kernel_env.ratings.pairs import Pair, first_place, pairs_of, sentence_of
from kernel_env.ratings.planning import smallest_difference, spread_of
from kernel_env.ratings.rows import Row, Scope, row_of
from kernel_env.untrusted_text import quote_name

UNRATED = ("nop", "sample")
"""Programs that are shown, but neither rated nor compared in pairs: they would lift all others."""
DEFAULT_ANCHOR = "baseline"
SHARE = 0.5
"""The default position from which an episode is a success: better than half of the board."""
COSTS = ("money", "tokens", "seconds")


@show_fields
@dataclass(frozen=True, kw_only=True)
class Group:
    """The agents on some tasks: on all, or on those of a domain."""

    name: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    """The best first; agents without the measure last."""
    pairs: tuple[Pair, ...]
    """Each two rated agents, in the order of the rows."""
    first: str
    """The agent that differs from every other one by more than noise; empty if none does."""
    sentence: str
    """What the table shows, and what it does not."""
    detectable: float | None
    """The smallest true difference that this many tasks and seeds show with 80 % probability,
    by the spread of these very episodes."""
    fronts: dict[str, tuple[str, ...]]
    """money, tokens, seconds → the rated agents that no other one beats at that cost."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Cell:
    """An agent on a task."""

    agent: str
    task: str
    domain: str
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    """The measure compared by, for each seed."""
    scores: tuple[float | None, ...]
    """The private scores, in the metric's units; None at the floor."""
    episodes: tuple[str, ...]
    mean: float | None
    missing: tuple[int, ...]
    """Seeds of which no attempt counts."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a set of records says about agents, and what it does not."""

    measure: str
    """The name of the measure compared by; see `MEASURES`."""
    share: float
    """The position from which an episode is a success."""
    anchor: str
    """The agent whose rating is 1000; empty: the mean of the rated ones is."""
    overall: Group
    domains: tuple[Group, ...]
    """By name."""
    cells: tuple[Cell, ...]
    """By task and agent."""
    cautions: tuple[str, ...]
    """What makes the comparison less than fair, one line each."""

    def json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def compare(
    records: Iterable[EpisodeResult],
    *,
    measure: str = "position",
    anchor: str | None = None,
    unrated: Sequence[str] = UNRATED,
    share: float = SHARE,
    references: Mapping[str, References] | None = None,
    families: Mapping[str, str] | None = None,
    label: Label = no_label,
    elo: bool = True,
    draws: int = DRAWS,
) -> Comparison:
    """Compare agents by their records. The order of the records makes no difference.

    Args:
        records: of episodes that have ended.
        measure: the name of the measure that rows are sorted, and pairs compared, by.
        anchor: the agent whose rating is 1000: its name, its label, or its program if only one
            agent has it. Default: `baseline` if there is one, else the mean is 1000.
        unrated: programs that are shown, but not rated.
        share: the position from which an episode is a success, 0 to 1.
        references: task → scores of the sample submission and of `solution.ipynb`, for tasks
            without records of the agents `sample` and `baseline`.
        families: task → its family, if tasks are related; intervals are over families then.
        label: what distinguishes agents of one program and model.
        elo: whether agents are rated, which needs the extra `report`.
        draws: how often tasks are drawn again for the intervals of ratings.

    Raises:
        UsageError: no records, an unknown measure or anchor, scores of a task that cannot be
            compared, or no choix.
    """
    if measure not in SCORES:
        raise UnknownName("measure", measure, SCORES)
    found = outcomes_of(records, label)
    known = anchor_of(found, anchor)
    rated = [a for a in found.agents if found.programs[a] not in unrated or a == known]
    scope = Scope(
        found=found,
        facts=facts_of(found, references or {}, share),
        measure=MEASURES[measure],
        rated=rated,
        anchor=known,
        families=families,
        draws=draws if elo else None,
    )
    domains = sorted(set(found.tasks.values()))
    by_domain = {name: [t for t, d in found.tasks.items() if d == name] for name in domains}
    overall = group_of("overall", list(found.tasks), scope)
    return Comparison(
        measure=measure,
        share=share,
        anchor=known or "",
        overall=overall,
        domains=tuple(group_of(name, tasks, scope) for name, tasks in by_domain.items()),
        cells=tuple(cells_of(scope)),
        cautions=tuple(cautions_of(found, overall.rows, rated, measure)),
    )


def anchor_of(found: Outcomes, anchor: str | None) -> str | None:
    """Find the anchor. Raises `UsageError` for one that no agent has, or several."""
    wanted = anchor if anchor is not None else DEFAULT_ANCHOR
    if wanted in found.agents:
        return wanted
    matching = [a for a in found.agents if wanted in (found.programs[a], found.labels[a])]
    if len(matching) == 1:
        return matching[0]
    if anchor is None:
        return None
    if matching:
        raise UsageError(
            f"the anchor {quote_name(anchor)} is {len(matching)} agents; name one of"
            f" {', '.join(map(quote_name, matching))}"
        )
    raise UnknownName("agent", anchor, found.agents)


def group_of(name: str, tasks: Sequence[str], scope: Scope) -> Group:
    """Compare the agents on some tasks."""
    there = set(tasks)
    outcomes = [outcome for outcome in scope.found.outcomes if outcome.task in there]
    values = {each.name: seeds_of(outcomes, each, scope.facts) for each in MEASURES.values()}
    ratings: Mapping[str, Rating] = {}
    if scope.draws is not None:
        ratings = rate(
            strengths_of(outcomes),
            scope.rated,
            anchor=scope.anchor if scope.anchor in scope.rated else None,
            families=scope.families,
            draws=scope.draws,
        )
    seeds = values[scope.measure.name]
    rows = sorted(
        (row_of(agent, outcomes, there, values, ratings, scope) for agent in scope.found.agents),
        key=lambda row: (-mean_in(row, scope.measure), row.agent),
    )
    order = [row.agent for row in rows if row.rated and row.agent in seeds]
    pairs = pairs_of(order, seeds, strengths_of(outcomes))
    return Group(
        name=name,
        tasks=tuple(tasks),
        rows=tuple(rows),
        pairs=tuple(pairs),
        first=first_place(order, pairs),
        sentence=sentence_of(order, pairs),
        detectable=detectable_in({agent: seeds[agent] for agent in order}),
        fronts={
            cost: front_of([row for row in rows if row.agent in order], cost, scope.measure)
            for cost in COSTS
        },
    )


def mean_in(row: Row, measure: Measure) -> float:
    """Return a row's number; minus infinity if it has none."""
    found = row.estimates.get(measure.name)
    return found.mean if found else float("-inf")


def strengths_of(outcomes: Iterable[Outcome]) -> dict[str, dict[str, list[float]]]:
    """Return the raw scores: task → agent → one value per seed, higher is better."""
    found: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.task, {}).setdefault(outcome.agent, []).append(outcome.strength)
    return found


def detectable_in(seeds: Mapping[str, Mapping[str, Sequence[float]]]) -> float | None:
    """Return the smallest true difference of two of these agents that their episodes can show."""
    spread = spread_of(seeds)
    if spread is None:
        return None
    tasks = {task for by_task in seeds.values() for task in by_task}
    counts = [len(values) for by_task in seeds.values() for values in by_task.values()]
    return smallest_difference(len(tasks), round(mean(counts)), spread)


def front_of(rows: Sequence[Row], cost: str, measure: Measure) -> tuple[str, ...]:
    """Return the agents that no other one beats at the same or a lower cost."""
    there = [row for row in rows if cost in row.estimates]
    points = [(row.estimates[cost].mean, row.estimates[measure.name].mean) for row in there]
    return tuple(there[index].agent for index in pareto(points))


def cells_of(scope: Scope) -> Iterable[Cell]:
    """Yield a cell for each task and each agent that tried it."""
    found = scope.found
    own: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found.outcomes:
        own.setdefault((outcome.task, outcome.agent), []).append(outcome)
    lost: dict[tuple[str, str], list[int]] = {}
    for agent, each in found.missing.items():
        for task, seed in each:
            lost.setdefault((task, agent), []).append(seed)
    for task, agent in sorted(own.keys() | lost.keys()):
        outcomes = own.get((task, agent), [])
        values = tuple(scope.measure.value(each, scope.facts[task]) for each in outcomes)
        known = [value for value in values if value is not None]
        yield Cell(
            agent=agent,
            task=task,
            domain=found.tasks[task],
            seeds=tuple(outcome.seed for outcome in outcomes),
            values=values,
            scores=tuple(outcome.record.private_score for outcome in outcomes),
            episodes=tuple(outcome.record.episode for outcome in outcomes),
            mean=mean(known) if known else None,
            missing=tuple(sorted(lost.get((task, agent), []))),
        )
