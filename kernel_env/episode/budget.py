"""Define the limits of an episode and compare them with what it has used.

A `Budget` is what an episode may use, `Spent` what it has used. Both are values; whether an
episode is over is computed from them, never stored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from kernel_env.errors import UnknownName, UsageError
from kernel_env.field_docs import show_fields
from kernel_env.tasks import Task

MIB = 1024 * 1024
OPTIONAL = ("tokens", "money", "submissions")
"""Limits that can be None."""
COUNTS = ("steps", "output_bytes", "tokens", "checkpoints", "submissions")
"""Limits that are whole numbers."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an episode has used so far."""

    steps: int = 0
    seconds: float = 0.0
    """Wall-clock seconds since the kernel was ready."""
    output_bytes: int = 0
    """Bytes that were stored: the journal's steps, with code, thoughts and outputs, and
    submissions. The notebook repeats the steps and is not counted."""
    tokens: int = 0
    money: float = 0.0
    """US dollars; tokens without a known price count as 0."""
    estimated_tokens: int = field(default=0, repr=False)
    """Those of the tokens that the agent estimated, because its endpoint reported none."""
    prompt_tokens: int = field(default=0, repr=False)
    """Those of the tokens that the agent sent, as far as it says."""
    cached_tokens: int = field(default=0, repr=False)
    """Those of the sent tokens that the endpoint had cached."""
    waited_seconds: float = field(default=0.0, repr=False)
    """Wall-clock seconds that are not in `seconds`: waits for the rate limit of an endpoint."""

    def plus(self, more: "Spent") -> "Spent":
        """Return the sum."""
        names = [field.name for field in fields(self)]
        return Spent(**{name: getattr(self, name) + getattr(more, name) for name in names})

    def minus(self, less: "Spent") -> "Spent":
        """Return the difference; what would be negative is 0."""
        names = [field.name for field in fields(self)]
        return Spent(**{name: max(0, getattr(self, name) - getattr(less, name)) for name in names})


@show_fields
@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of an episode. None means no limit."""

    steps: int = 100
    """Maximum number of steps."""
    seconds: float = 3600.0
    """Wall-clock seconds."""
    cell_seconds: float = 600.0
    """Time limit of a cell: it is then interrupted, and its variables stay."""
    output_bytes: int = 1024 * MIB
    """Bytes that are stored: the journal's steps, with code, thoughts and outputs, and submissions.
    The step that reaches the limit is stored as a whole. The notebook repeats the steps. The agent
    sees what is left once that is less than a fifth."""
    tokens: int | None = None
    """Tokens of the agent's model."""
    money: float | None = None
    """US dollars."""
    submissions: int | None = None
    """Number of submissions that are graded. Later ones end nothing, but they neither have a score
    nor earn a reward; with `counts="last"` the file that is left still counts."""
    checkpoints: int = 4
    """Number of checkpoints that are kept, the latest one included."""
    checkpoint_gb: float = 2.0
    """Total memory for checkpoints, GiB (proportional set size)."""

    @classmethod
    def of(cls, task: Task) -> "Budget":
        """Return the limits that task.toml sets."""
        limits = task.file.limits
        return cls(
            steps=limits.steps,
            seconds=limits.seconds,
            cell_seconds=limits.cell_seconds,
            submissions=limits.submissions,
        )

    def changed(self, overrides: Mapping[str, float | None]) -> "Budget":
        """Return this budget with some limits replaced.

        Raises `UsageError` for an unknown limit, and for a value that is not positive.
        """
        known = {field.name for field in fields(self)}
        for name in sorted(set(overrides) - known):
            raise UnknownName("limit of a budget", name, known)
        for name, value in overrides.items():
            if value is None and name in OPTIONAL:
                continue
            whole = "whole " if name in COUNTS else ""
            number = isinstance(value, int if whole else int | float) and value is not True
            if not number or value is None or not 0 < value < math.inf:
                raise UsageError(
                    f"the budget's {name} is {value!r}; it must be a positive {whole}number"
                )
        return replace(self, **overrides)  # type: ignore[arg-type]

    def exhausted(self, spent: Spent) -> str | None:
        """Return which limit `spent` has reached, as text; None while none is."""
        for name, used, limit in (
            ("steps", spent.steps, self.steps),
            ("seconds", spent.seconds, self.seconds),
            ("output bytes", spent.output_bytes, self.output_bytes),
            ("tokens", spent.tokens, self.tokens),
            ("dollars", spent.money, self.money),
        ):
            if limit is not None and used >= limit:
                return f"the budget of {limit:g} {name} is used up"
        return None

    def steps_left(self, spent: Spent) -> int:
        """Return the number of steps that are left."""
        return max(0, self.steps - spent.steps)

    def seconds_left(self, spent: Spent) -> float:
        """Return the wall-clock seconds that are left."""
        return max(0.0, self.seconds - spent.seconds)

    def output_bytes_left(self, spent: Spent) -> int:
        """Return the number of bytes that can still be stored."""
        return max(0, self.output_bytes - spent.output_bytes)
