"""Define what comes of one call, and shorten its text for a model with little context."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from kernel_env.episode.budget import Budget
from kernel_env.episode.observation import OWN_LINE, Observation, standing, submission_lines
from kernel_env.episode.step import Progress, Step
from kernel_env.errors import UsageError
from kernel_env.field_docs import show_fields
from kernel_env.untrusted_text import Block, clipped, escape_line, escape_lines, join

MIN_CHARACTERS = 500
"""The least that the text of a turn can be limited to."""
LINE_CHARACTERS = 240
"""Limit of each line at the beginning of a shortened text."""
BACKTICKS = re.compile("`{4,}")
FRAME = 80
"""Characters of two fences and of the note on what was left out, at most."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a policy reads after a call."""

    text: str
    """What to show the model."""
    reward: float = 0.0
    """What the step earned."""
    over: str = ""
    """Why the rollout is over; empty while it continues."""
    error: str = ""
    """What was wrong: with the call, which took no step then, or the exception that ended the cell
    as `Name: value`. Empty if nothing was."""
    images: tuple[str, ...] = field(default=(), repr=False)
    """The pictures that the cell displayed: PNG, base64."""


def check_limit(limit: int | None) -> None:
    """Raise `UsageError` for a limit that leaves no room for error and score."""
    if limit is not None and (not isinstance(limit, int) or limit < MIN_CHARACTERS):
        raise UsageError(
            f"observation_chars is {limit!r}; it must be a whole number of at least"
            f" {MIN_CHARACTERS}, or None for no limit"
        )


def shortened(
    seen: Observation, step: Step, progress: Progress, budget: Budget, limit: int | None
) -> str:
    """Return the text of an observation within a number of characters.

    A longer text begins with what a policy must not miss: the error, a lost state, the grade or
    rejection, and what is left of the budget. The rest follows with its middle cut out, between
    fences, so that nothing in it can be taken for one of these lines.

    Args:
        seen: the observation after the step.
        step: the agent's latest step.
        progress: the state after it.
        budget: the limits of the episode.
        limit: the most characters, at least `MIN_CHARACTERS`; None for no limit.
    """
    if limit is None or len(seen.text) <= limit:
        return seen.text
    lines = [
        *([f"[error: {seen.error}]"] if seen.error else []),
        *([f"[KERNEL RESTORED: {seen.restored}]"] if seen.restored else []),
        *([f"[STATE LOST: {seen.state_lost}]"] if seen.state_lost else []),
        *(submission_lines(step.submission) if step.actor == "agent" else []),
        standing(progress, budget),
    ]
    return with_rest(lines, seen.text, limit)


def with_rest(lines: Sequence[str], text: str, limit: int) -> str:
    """Return lines of ours, and then head and tail of a text, within a number of characters."""
    share = min(LINE_CHARACTERS, limit // 2 // len(lines))
    first = [cut(escape_line(line), share) for line in lines]
    text = BACKTICKS.sub("```", escape_lines(text))  # a fence is longer than any run of them
    room = limit - sum(len(line) + 1 for line in first) - FRAME
    return join([*first, Block(clipped(text, room))], OWN_LINE)


def cut(line: str, limit: int) -> str:
    """Return the beginning of a line."""
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
