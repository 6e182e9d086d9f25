"""Compute what the agent saw before and after each of its steps, one step at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from kernel_env.episode.journal import stream_journal
from kernel_env.episode.observation import observe, recorded_opening
from kernel_env.episode.step import Progress, Step
from kernel_env.episode.trajectory import Header, Note
from kernel_env.export.runs import Run
from kernel_env.grading.protocol import Counts, Feedback, Protocol


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A step of the agent between two observations."""

    step: Step
    before: str
    """What it saw before the step; `opening` for the first one."""
    after: str
    """What it saw after the step: the text of `Episode.observation`."""
    is_last: bool


def turns(run: Run) -> Iterator[Turn | Note]:
    """Yield the turns of a run, and its notes between them.

    Steps of people are not turns: what they changed is in the agent's next observation.

    Raises `UsageError` if the journal has changed since it was summarised.
    """
    entries = stream_journal(run.journal)
    header = next(entries)
    assert isinstance(header, Header)
    seen, own = opening(header), 0
    progress = Progress(higher_is_better=header.higher_is_better)
    for entry in entries:
        if isinstance(entry, Note):
            yield entry
        elif isinstance(entry, Step):
            # Of the predictions before, an observation says nothing.
            progress = replace(progress.after(entry), contents=frozenset())
            if entry.actor == "human":
                continue
            own += 1
            after = observe(entry, progress, header.budget).text
            yield Turn(step=entry, before=seen, after=after, is_last=own == run.own_steps)
            seen = after


def beginning(journal: Path) -> tuple[str, str]:
    """Return the system prompt, empty if none is recorded, and the first message to the agent.

    Where the message is not recorded, it is made of description, rules and budget: see `opening`.
    """
    entries = stream_journal(journal)
    header = next(entries)
    assert isinstance(header, Header)
    found: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry, Note) or entry.after_step:
            break
        found.setdefault(entry.kind, entry.text)
    return found.get("instructions", ""), found.get("first_message") or opening(header)


def opening(header: Header) -> str:
    """Return the first message to the agent, made of what the journal has of it."""
    known = header.feedback in get_args(Feedback) and header.counts in get_args(Counts)
    rules = Protocol(feedback=header.feedback, counts=header.counts)  # type: ignore[arg-type]
    return recorded_opening(header.description, header.budget, rules if known else None)
