"""Say what makes a comparison of agents less than fair."""

import json
from collections.abc import Callable, Iterator, Sequence

from kernel_env.episode.result import EpisodeResult
from kernel_env.ratings.differences import FEWEST_TASKS
from kernel_env.ratings.outcomes import Outcome, Outcomes
from kernel_env.ratings.rows import Row
from kernel_env.untrusted_text import quote_name

NAMED = 3
"""Number of tasks that a line names."""
SETTINGS: dict[str, Callable[[EpisodeResult], object]] = {
    "the version of the task": lambda r: r.task_version,
    "the budget": lambda r: json.dumps(r.budget, sort_keys=True),
    "what agents learn of their scores": lambda r: (r.feedback, r.counts),
    "who comments on the steps": lambda r: (r.feedback_provider,),
    "the hardware": lambda r: (r.cpus, r.memory_gb, r.gpus),
    "the sandbox": lambda r: r.sandbox,
    "the image": lambda r: r.image_digest or r.image,
}
"""What should be the same for all agents on a task."""


def cautions_of(
    found: Outcomes, rows: Sequence[Row], rated: Sequence[str], measure: str
) -> Iterator[str]:
    """Yield what makes a comparison less than fair, one line each.

    Args:
        found: the outcomes.
        rows: the agents on all tasks.
        rated: those that are compared.
        measure: what they are compared by.
    """
    compared = sorted((row for row in rows if row.agent in rated), key=lambda row: row.agent)
    if 0 < len(found.tasks) < FEWEST_TASKS:
        yield (
            f"{len(found.tasks)} of the at least {FEWEST_TASKS} tasks that it takes to tell agents"
            " apart"
        )
    yield from missing(found, compared)
    yield from retries(compared, measure)
    yield from settings([outcome for outcome in found.outcomes if outcome.agent in rated])
    if helped := [o for o in found.outcomes if o.record.human_steps]:
        yield f"people took steps in {episodes(len(helped))} of {names(o.agent for o in helped)}"
    if flagged := [o for o in found.outcomes if o.record.flags]:
        yield (
            f"an audit for cheats has flags in {episodes(len(flagged))} of"
            f" {names(o.agent for o in flagged)}; look at them with kernel-env audit"
        )
    if found.failed_tasks:
        yield (
            f"left out for all agents, because their own metric or data failed:"
            f" {names(found.failed_tasks)}"
        )
    if found.forks:
        yield f"left out, because they continue another one: {episodes(found.forks)}"
    if found.cheats:
        yield f"left out, because it knows the answers: {names(found.cheats)}"


def missing(found: Outcomes, rows: Sequence[Row]) -> Iterator[str]:
    """Warn if agents lack different shares of their episodes."""
    shares = {}
    for row in rows:
        tried = {o.task for o in found.outcomes if o.agent == row.agent}
        tried |= {task for task, _ in found.missing[row.agent]}
        untried = len(found.tasks.keys() - tried)
        lost, all_ = row.missing + untried, row.scored + row.floor + row.missing + untried
        shares[row.agent] = (lost, all_)
    if len({lost / all_ if all_ else 1.0 for lost, all_ in shares.values()}) > 1:
        text = ", ".join(f"{quote_name(a)} {lost} of {n}" for a, (lost, n) in shares.items())
        yield f"agents miss different shares of their episodes: {text}"


def retries(rows: Sequence[Row], measure: str) -> Iterator[str]:
    """Show whether episodes that were tried again score otherwise."""
    for row in rows:
        if row.retried and measure in row.estimates:
            first = "nothing" if row.first_attempts is None else f"{row.first_attempts:.3f}"
            yield (
                f"{row.retried} of {episodes(row.scored + row.floor)} of {quote_name(row.agent)}"
                f" are not the first attempt; first attempts alone have {first}, all have"
                f" {row.estimates[measure].mean:.3f}"
            )


def settings(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Warn if agents worked under different conditions on a task."""
    for name, setting in SETTINGS.items():
        seen: dict[str, dict[str, set[object]]] = {}
        for o in outcomes:
            if setting(o.record):
                by_agent = seen.setdefault(o.task, {})
                by_agent.setdefault(o.agent, set()).add(setting(o.record))
        different = [
            task
            for task, by_agent in sorted(seen.items())
            if len({frozenset(each) for each in by_agent.values()}) > 1
        ]
        if different:
            yield f"{name} differs between agents on {names(different)}"


def episodes(n: int) -> str:
    """Return a number of episodes as text."""
    return f"{n} episode{'s' * (n != 1)}"


def names(found: "Sequence[str] | Iterator[str]") -> str:
    """Return some names and the number of the others."""
    each = sorted(set(found))
    more = f" and {len(each) - NAMED} more" if len(each) > NAMED else ""
    return ", ".join(map(quote_name, each[:NAMED])) + more
