"""The log of an episode's kernel: what was run, so that it can be replayed.

Positions count entries: position 3 is the state after the third entry. From the state at
position 2 it is reached by replaying the third entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel_env.kernel.cell import Cell
from kernel_env.untrusted_text import quote_name

RESEED_S = 60.0


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """A cell or a reset that changed the kernel, and would change it again."""

    step: int
    """The step of the episode that caused it."""
    code: str | None
    """The source of the cell; None for a reset."""
    timeout_s: float = 0.0
    """Time limit of the cell, seconds."""
    keeps_files: bool = False
    """Whether a reset leaves the files as they are."""
    cell: Cell | None = None
    """The cell's result without its outputs: its variables and files tell whether a replay gave
    the same. None for an entry that is not a cell of the agent."""


def reseeding(step: int, seed: int) -> LogEntry:
    """Return an entry that starts the global random states from `seed`."""
    code = f'__import__("importlib").import_module("_kernel_env.random_state").reseed({seed})'
    return LogEntry(step=step, code=code, timeout_s=RESEED_S)


def count_cells(entries: Iterable[LogEntry]) -> int:
    """Count the cells of the agent."""
    return sum(entry.cell is not None for entry in entries)


def position_after(log: Sequence[LogEntry], step: int) -> int:
    """Return the position that an episode had reached after a step."""
    return sum(entry.step <= step for entry in log)


def last_reset(log: Sequence[LogEntry], position: int) -> int:
    """Return the position of the last reset up to `position` that empties the folders; or 0.

    The state at a later position does not depend on what came before it.
    """
    resets = [
        n
        for n, entry in enumerate(log[:position], 1)
        if entry.code is None and not entry.keeps_files
    ]
    return resets[-1] if resets else 0


def differences(before: Iterable[Cell], after: Iterable[Cell]) -> list[str]:
    """Describe what a replay did not reproduce.

    Variables are compared by type and shape, files by size.
    """
    was, now = summaries(before), summaries(after)
    names = sorted(name for name in was | now if was.get(name) != now.get(name))
    return [
        f"{quote_name(name)} was {was.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in names
    ]


def summaries(cells: Iterable[Cell]) -> dict[str, str]:
    """Return a short description of each variable and file that exists after some cells."""
    present: dict[str, str] = {}
    for cell in cells:
        changes = [
            (v.name, f"{quote_name(v.type)} {v.shape}".strip(), v.change) for v in cell.variables
        ]
        changes += [(f"/{f.path}", f"{f.bytes} bytes", f.change) for f in cell.files]
        for name, summary, change in changes:
            if change == "deleted":
                present.pop(name, None)
            else:
                present[name] = summary
    return present
