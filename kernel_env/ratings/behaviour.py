"""Describe what agents did: kinds of actions, how often they failed, and by which errors.

A rate has two means that can differ: that of the episodes' rates (macro), and that of all actions
together (pooled), in which long episodes count for more. Both are shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel_env.episode.result import EpisodeResult
from kernel_env.field_docs import show_fields
from kernel_env.ratings.intervals import mean

SHOWN_ERRORS = 10
"""Number of names of errors that are listed."""
KINDS = ("request_info", "validate_code", "execute_code", "get_history", "reset")
"""Kinds of actions, in the order of tables."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of actions."""

    events: int
    of: int
    macro: float | None
    """The mean of the episodes' shares, over those with such actions; None if there are none."""

    @property
    def pooled(self) -> float | None:
        """The share of all actions together; None if there are none."""
        return self.events / self.of if self.of else None


@show_fields
@dataclass(frozen=True, kw_only=True)
class ErrorCount:
    """How often an exception of a name ended a cell."""

    name: str
    times: int
    episodes: tuple[str, ...]
    """The episodes in which it occurred, most frequent first."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What an agent did in the episodes that count."""

    mix: dict[str, Rate]
    """The share of each kind of action in all steps."""
    validations_failed: Rate
    """Validations that ended in an error, a time-out or a broken kernel, of those run."""
    executions_failed: Rate
    """The same for executions."""
    refused: Rate
    """Submissions that could not be graded, of those left."""
    errors: tuple[ErrorCount, ...]
    """The most frequent exceptions."""


def rate(counts: Iterable[tuple[int, int]]) -> Rate:
    """Return a rate from the events and the actions of each episode.

    >>> found = rate([(1, 2), (0, 8)])
    >>> (found.macro, found.pooled)
    (0.25, 0.1)
    """
    known = [(events, of) for events, of in counts if of]
    return Rate(
        events=sum(events for events, _ in known),
        of=sum(of for _, of in known),
        macro=mean([events / of for events, of in known]) if known else None,
    )


def behaviour_of(records: Sequence[EpisodeResult]) -> Behaviour:
    """Describe what an agent did in some episodes."""
    kinds = [*KINDS, *sorted({kind for r in records for kind in r.steps_by_kind} - set(KINDS))]
    steps = [sum(r.steps_by_kind.values()) for r in records]

    return Behaviour(
        mix={
            kind: rate(
                (r.steps_by_kind.get(kind, 0), n) for r, n in zip(records, steps, strict=True)
            )
            for kind in kinds
        },
        validations_failed=rate((r.cells.validate_failed, r.cells.validate_run) for r in records),
        executions_failed=rate((r.cells.execute_failed, r.cells.execute_run) for r in records),
        refused=rate((r.refusals, r.refusals + r.submissions) for r in records),
        errors=errors_of(records),
    )


def errors_of(records: Iterable[EpisodeResult]) -> tuple[ErrorCount, ...]:
    """Return the most frequent exceptions, with the episodes that had them."""
    times: Counter[str] = Counter()
    episodes: dict[str, Counter[str]] = {}
    for record in records:
        for name, n in record.errors.items():
            times[name] += n
            episodes.setdefault(name, Counter())[record.episode] += n
    return tuple(
        ErrorCount(name=name, times=n, episodes=tuple(each for each, _ in ordered(episodes[name])))
        for name, n in ordered(times)[:SHOWN_ERRORS]
    )


def ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return counts, the largest first, equal ones by name."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))
