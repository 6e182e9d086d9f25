"""Define a program: a sequence of cells whose outputs are the same in plain Jupyter.

A program is written in the percent format: a line `# %%` begins the next cell. Its cells print
nothing that differs by chance, or `masks` say what does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Literal

Mode = Literal["plain", "fault", "trial", "fork"]
"""How a program is run: only its cells; with a crash after each; each in a trial first; with a
fork after each, which runs the remaining cells."""
MODES: tuple[Mode, ...] = ("plain", "fault", "trial", "fork")
COPIES: tuple[Mode, ...] = ("fault", "trial", "fork")
"""The modes in which cells run in a process forked after an earlier cell."""
NEXT_CELL = re.compile(r"^# %%\n", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Why the outputs of a program differ from those of plain Jupyter in some modes."""

    reason: str
    """One line for the documentation."""
    modes: tuple[Mode, ...] = COPIES
    shows: str = ""
    """A pattern that each output that differs matches."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A sequence of cells."""

    name: str
    kind: str
    cells: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Modules that an image need not have."""
    differs: tuple[Difference, ...] = ()
    masks: tuple[str, ...] = ()
    """Patterns of text that differs by chance."""
    names_memory: bool = False
    """Whether it names files in /dev/shm: in the sandbox `local` they belong to the machine, so
    that its copies share them."""

    def difference(self, mode: Mode) -> Difference | None:
        """Return why a mode differs from plain Jupyter; None if it does not."""
        return next((each for each in self.differs if mode in each.modes), None)


def of_kind(kind: str) -> Callable[..., Program]:
    """Return a function that creates programs of a kind."""

    def program(
        name: str,
        source: str,
        *differs: Difference,
        needs: Sequence[str] = (),
        masks: Sequence[str] = (),
        names_memory: bool = False,
    ) -> Program:
        cells = NEXT_CELL.split(dedent(source).strip("\n") + "\n")
        return Program(
            name=name,
            kind=kind,
            cells=tuple(cell.rstrip("\n") for cell in cells),
            needs=tuple(needs),
            differs=differs,
            masks=tuple(masks),
            names_memory=names_memory,
        )

    return program


# ── what a kernel does in another way ─────────────────────────────────────────────────────

PAGER = Difference(
    reason="What IPython sends to its pager or to the next input is an output of the cell, at the"
    " place where it was sent.",
    modes=MODES,
)
HALF_PAIRS = Difference(
    reason="Half a surrogate pair in a text appears as an escape; plain Jupyter fails.", modes=MODES
)
NO_ARGUMENTS = Difference(
    reason="`sys.argv` has no arguments, so that a cell can parse them; a plain kernel has its own.",
    modes=MODES,
)

# ── what the copies of a kernel lack ──────────────────────────────────────────────────────

CHILDREN = Difference(
    reason="Child processes belong to the kernel that started them. In a copy `Popen` reports -9,"
    " and pipes to them are closed."
)
POOLS = Difference(
    reason="`multiprocessing.Pool`, `ThreadPool`, `ProcessPoolExecutor` and managers are closed in a copy."
)
THREADS = Difference(reason="Threads end in a copy: only the main thread is forked.")
TASKS = Difference(reason="Tasks and timers of the event loop end in a copy, which has a new loop.")
CONNECTIONS = Difference(
    reason="Sockets belong to the kernel that opened them. In a copy their other end is closed."
)
TIMERS = Difference(reason="Timers of a process are not inherited by a copy.")
PROCESS = Difference(reason="A copy is another process, with its own process ID.")
