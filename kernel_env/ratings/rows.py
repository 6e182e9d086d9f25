"""Describe an agent on some tasks: the row of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernel_env.field_docs import show_fields
from kernel_env.ratings.behaviour import Behaviour, behaviour_of
from kernel_env.ratings.elo import Rating
from kernel_env.ratings.estimates import Estimate, estimate, seeds_of
from kernel_env.ratings.intervals import interquartile_mean, mean
from kernel_env.ratings.measures import MEASURES, Measure, TaskFacts
from kernel_env.ratings.outcomes import Outcome, Outcomes
from kernel_env.ratings.repeats import best_of_k, pass_all_k, pass_at_k


@show_fields
@dataclass(frozen=True, kw_only=True)
class Repeat:
    """What k attempts at a task are worth."""

    k: int
    pass_at: float
    """Probability that at least one is a success, mean over tasks; see `pass_at_k`."""
    pass_all: float
    """Probability that all are; see `pass_all_k`."""
    best_of: float
    """Expected best position; see `best_of_k`."""
    tasks: int
    """How many tasks have k seeds."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Row:
    """An agent in a group of tasks."""

    agent: str
    program: str
    rated: bool
    scored: int
    """Episodes with a graded submission."""
    floor: int
    """Episodes that ended by the agent's doing without one."""
    missing: int
    """(task, seed) of which no attempt counts."""
    attempts: int
    """All episodes, also those that do not count."""
    retried: int
    """Episodes that count, but are not the first attempt."""
    first_attempts: float | None
    """The measure compared by, over the episodes that are first attempts."""
    estimates: dict[str, Estimate]
    """Each measure that the agent has, by name."""
    interquartile_mean: float | None
    """Of the measure compared by, over all episodes."""
    normalised_clipped: int
    """Episodes whose normalised score was below 0 or above 1."""
    rating: Rating | None
    """None for an agent that is not rated."""
    repeats: tuple[Repeat, ...]
    behaviour: Behaviour
    total_money: float
    """US dollars of all attempts."""
    total_tokens: int
    total_seconds: float


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What all groups of a comparison have in common."""

    found: Outcomes
    facts: Mapping[str, TaskFacts]
    measure: Measure
    rated: Sequence[str]
    anchor: str | None
    families: Mapping[str, str] | None
    draws: int | None
    """None: agents are not rated."""


def row_of(
    agent: str,
    outcomes: Sequence[Outcome],
    tasks: set[str],
    values: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    ratings: Mapping[str, Rating],
    scope: Scope,
) -> Row:
    """Describe an agent on some tasks.

    Args:
        agent: its name.
        outcomes: of all agents on the tasks.
        tasks: the tasks.
        values: measure → agent → task → one value per seed.
        ratings: of the agents that are rated.
        scope: what all groups have in common.
    """
    own = [outcome for outcome in outcomes if outcome.agent == agent]
    firsts = [outcome for outcome in own if outcome.first]
    first_seeds = seeds_of(firsts, scope.measure, scope.facts).get(agent)
    records = [record for record in scope.found.records[agent] if record.task in tasks]
    estimates = {}
    for name, by_agent in values.items():
        if seeds := by_agent.get(agent):
            of = len({task for by_task in by_agent.values() for task in by_task})
            estimates[name] = estimate(seeds, of, MEASURES[name], scope.families)
    compared = values[scope.measure.name].get(agent, {})
    normalised = [o.record.normalised_private for o in own if o.scored]
    return Row(
        agent=agent,
        program=scope.found.programs[agent],
        rated=agent in scope.rated,
        scored=sum(outcome.scored for outcome in own),
        floor=sum(not outcome.scored for outcome in own),
        missing=sum(task in tasks for task, _ in scope.found.missing[agent]),
        attempts=len(records),
        retried=len(own) - len(firsts),
        first_attempts=mean([mean(each) for each in first_seeds.values()]) if first_seeds else None,
        estimates=estimates,
        interquartile_mean=interquartile_mean([v for each in compared.values() for v in each])
        if compared
        else None,
        normalised_clipped=sum(not 0 <= each <= 1 for each in normalised if each is not None),
        rating=ratings.get(agent),
        repeats=repeats_of(values["success"].get(agent, {}), values["position"].get(agent, {})),
        behaviour=behaviour_of([outcome.record for outcome in own]),
        total_money=sum(record.usage.money for record in records),
        total_tokens=sum(record.usage.tokens for record in records),
        total_seconds=sum(record.seconds for record in records),
    )


def repeats_of(
    successes: Mapping[str, Sequence[float]], positions: Mapping[str, Sequence[float]]
) -> tuple[Repeat, ...]:
    """Return what 1, 2, … attempts are worth, up to the largest number of seeds of a task."""
    repeats = []
    for k in range(1, 1 + max(map(len, successes.values()), default=0)):
        there = [task for task, values in successes.items() if len(values) >= k]
        counts = [(len(successes[task]), round(sum(successes[task]))) for task in there]
        repeats.append(
            Repeat(
                k=k,
                pass_at=mean([pass_at_k(n, c, k) or 0.0 for n, c in counts]),
                pass_all=mean([pass_all_k(n, c, k) or 0.0 for n, c in counts]),
                best_of=mean([best_of_k(positions[task], k) or 0.0 for task in there]),
                tasks=len(there),
            )
        )
    return tuple(repeats)
