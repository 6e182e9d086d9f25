"""What an episode's kernel can be put back to, and what was run on the way there.

A checkpoint is a standby and a snapshot of the files, both taken between two cells.
Moments count what was done: moment 3 is after the third deed. From a checkpoint of
moment 2 the third is reached by doing the third again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.forking.standby import Standby

RESEED_S = 60.0


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """Something that changed the kernel, and would change it again."""

    step: int
    """The step of the episode that did it."""
    code: str | None
    """The cell; None for a reset."""
    timeout_s: float = 0.0
    cell: Cell | None = None
    """What came of it, without its outputs: its variables and files tell whether doing it again
    gave the same. None for what is no cell of the agent."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A kernel and its files as they were at a moment."""

    moment: int
    standby: Standby
    files: str | None
    """The snapshot's name; None when the files could not be kept."""


def reseeding(step: int, seed: int) -> LogEntry:
    """A deed by which the global random states start from `seed`."""
    code = f'__import__("importlib").import_module("guest.random_state").reseed({seed})'
    return LogEntry(step=step, code=code, timeout_s=RESEED_S)


def cells(deeds: Iterable[LogEntry]) -> int:
    """How many cells of the agent there are among some deeds."""
    return sum(deed.cell is not None for deed in deeds)


def moment_after(deeds: Sequence[LogEntry], step: int) -> int:
    """The moment at which an episode stood after a step."""
    return sum(deed.step <= step for deed in deeds)


def since_reset(deeds: Sequence[LogEntry], moment: int) -> int:
    """The moment of the last reset up to `moment`; 0 when there was none."""
    resets = [n for n, deed in enumerate(deeds[:moment], 1) if deed.code is None]
    return resets[-1] if resets else 0


def nearest(
    checkpoints: Iterable[Checkpoint], deeds: Sequence[LogEntry], moment: int
) -> Checkpoint | None:
    """The latest checkpoint from which `moment` can be reached."""
    earliest = since_reset(deeds, moment)
    fit = [c for c in checkpoints if earliest <= c.moment <= moment]
    return max(fit, key=lambda c: c.moment, default=None)


def differences(wanted: Iterable[Cell], found: Iterable[Cell]) -> list[str]:
    """What is not the same after cells were run again, as far as they tell of it.

    Variables are compared by type and shape, files by size.
    """
    was, now = outlines(wanted), outlines(found)
    names = sorted(name for name in was | now if was.get(name) != now.get(name))
    return [f"{name} was {was.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in names]


def outlines(cells: Iterable[Cell]) -> dict[str, str]:
    """What there is after some cells: a word for each variable and each file."""
    seen: dict[str, str] = {}
    for cell in cells:
        told = [(v.name, f"{v.type} {v.shape}".strip(), v.change) for v in cell.variables]
        told += [(f"/{f.path}", f"{f.bytes} bytes", f.change) for f in cell.files]
        for name, outline, change in told:
            if change == "deleted":
                seen.pop(name, None)
            else:
                seen[name] = outline
    return seen
