"""Compute what has happened to each job from the records of a suite."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kernel_env.suite.log import Event, Fault, Finished, Line, Regraded, Retry, Started


@dataclass(kw_only=True)
class Attempt:
    """One episode of a job."""

    started: Started
    ending: Finished | Fault | None = None
    """None for one that runs, or whose driver was killed."""
    regraded: Regraded | None = None
    """The latest grades of its kept submissions."""

    @property
    def record(self) -> dict[str, Any] | None:
        """Return the result with its latest grades; None if there is none."""
        source = self.regraded or self.ending
        return source.record if source else None


@dataclass(kw_only=True)
class History:
    """What has happened to one job."""

    key: str
    attempts: list[Attempt] = field(default_factory=list)
    """In order."""
    unstarted: Fault | None = None
    """Why it could not begin, the last time when it could not."""
    pardoned: int = 0
    """Faults of attempts up to this number do not count any more."""

    def add(self, line: Event) -> None:
        """Take a line of the records into account."""
        match line:
            case Started():
                self.attempts.append(Attempt(started=line))
                self.unstarted = None
            case Fault(attempt=0):
                self.unstarted = line
            case Finished() | Fault():
                if attempt := self.attempt(line.attempt):
                    attempt.ending = line
            case Regraded():
                if attempt := self.attempt(line.attempt):
                    attempt.regraded = line
            case Retry():
                self.pardoned = line.attempt
                self.unstarted = None

    def attempt(self, number: int) -> Attempt | None:
        """Return an attempt by its number; None if it has not started."""
        found = [each for each in self.attempts if each.started.attempt == number]
        return found[-1] if found else None

    @property
    def last(self) -> Attempt | None:
        """Return the last attempt; None if none has started."""
        return self.attempts[-1] if self.attempts else None

    @property
    def finished(self) -> Attempt | None:
        """Return the attempt that counts; None if none has finished."""
        return next((each for each in self.attempts if isinstance(each.ending, Finished)), None)

    @property
    def grade_key(self) -> str:
        """Return what graded the attempt that counts; empty if it is not known."""
        attempt = self.finished
        if attempt is None:
            return ""
        return attempt.regraded.grade_key if attempt.regraded else attempt.started.grade_key

    @property
    def faults(self) -> list[Fault]:
        """Return the faults that count, in order."""
        return [
            each.ending
            for each in self.attempts
            if isinstance(each.ending, Fault) and each.started.attempt > self.pardoned
        ]

    @property
    def money(self) -> float:
        """Return the US dollars that all its attempts have used."""
        records = [each.ending.record for each in self.attempts if each.ending]
        return sum(float(record["usage"]["money"]) for record in records if record)


def fold(lines: Iterable[Line]) -> dict[str, History]:
    """Return the history of each job, by its key."""
    histories: dict[str, History] = {}
    for line in lines:
        histories.setdefault(line.key, History(key=line.key)).add(line)
    return histories
