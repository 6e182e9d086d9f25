"""The limits of an episode and what has been used of them.

A `Budget` is what an episode may use, `Spent` what it has used. Both are plain
values: whether an episode is over is a question put to the two of them, never
a flag that somebody has to set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from kernel_env.errors import UsageError
from kernel_env.tasks import Task

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an episode has used so far."""

    steps: int = 0
    seconds: float = 0.0
    """Wall-clock seconds since the kernel was first ready."""
    output_bytes: int = 0
    """Bytes of cell outputs kept in the record."""
    tokens: int = 0
    money: float = 0.0
    """US dollars."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an episode may use. `None` means that no limit was set."""

    steps: int = 100
    seconds: float = 3600.0
    cell_seconds: float = 600.0
    """After this long a cell is interrupted; its variables stay."""
    output_bytes: int = 256 * MIB
    tokens: int | None = None
    money: float | None = None
    """US dollars."""
    checkpoints: int = 4
    """How many moments are kept as they were, the latest included, to go back to and fork from."""
    checkpoint_gb: float = 2.0
    """Memory of their kernels together, in GiB, of what they share with others their share."""

    @classmethod
    def of(cls, task: Task) -> "Budget":
        """Return the limits that task.toml sets."""
        limits = task.file.limits
        return cls(steps=limits.steps, seconds=limits.seconds, cell_seconds=limits.cell_seconds)

    def changed(self, overrides: Mapping[str, float | None]) -> "Budget":
        """This budget with some limits replaced.

        Raises `UsageError` for a name that is no limit and for a limit that is not positive.
        """
        known = {field.name for field in fields(self)}
        if unknown := sorted(set(overrides) - known):
            raise UsageError(
                f"a budget has no {', '.join(unknown)}; its limits are {', '.join(sorted(known))}"
            )
        for name, value in overrides.items():
            optional = name in ("tokens", "money")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not ((optional and value is None) or (number and value is not None and value > 0)):
                raise UsageError(f"the budget's {name} is {value!r}; it must be a positive number")
        return replace(self, **overrides)  # type: ignore[arg-type]

    def exhausted(self, spent: Spent) -> str | None:
        """The limit that `spent` has reached, in words, or None while there is something left."""
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
        """Steps the agent may still take."""
        return max(0, self.steps - spent.steps)

    def seconds_left(self, spent: Spent) -> float:
        """Wall-clock seconds the episode may still last."""
        return max(0.0, self.seconds - spent.seconds)
