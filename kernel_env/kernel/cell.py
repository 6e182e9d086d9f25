"""What a kernel returns for a cell: outputs, changes, and how it was recovered after a crash."""

from dataclasses import dataclass
from typing import Any, Literal

Output = dict[str, Any]
"""One output of a cell in nbformat's own shape (`output_type`, `data`, `text`, …)."""


@dataclass(frozen=True, kw_only=True)
class CellError:
    """The exception that ended a cell."""

    name: str
    value: str
    traceback: tuple[str, ...] = ()
    """Lines as IPython prints them, with ANSI colours."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A name in the kernel that a cell defined or changed."""

    name: str
    type: str
    shape: str = ""
    """Rows × columns or a length, where the type has one: `(3, 4)`, `12`."""
    megabytes: float = 0.0
    change: Literal["new", "changed", "deleted"] = "new"


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file in the workspace that a cell wrote or deleted."""

    path: str
    """Relative to the workspace."""
    bytes: int = 0
    change: Literal["new", "changed", "deleted"] = "new"


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The kernel broke and was put back as it was."""

    cause: str
    """Why the kernel could not go on."""
    how: Literal["standby", "replay", "again"]
    """`standby`: a copy that was kept goes on; `replay`: cells were run again in a fresh kernel or
    in an older copy; `again`: this cell itself was run once more, with all the memory there is."""
    before: bool = False
    """The kernel broke before this cell, which then ran; else this cell broke it and is undone."""
    cells: int = 0
    """How many earlier cells were run again."""
    seconds: float = 0.0
    note: str = ""
    """What else the agent should know of it."""
    lost: str = ""
    """What was not given back; empty when everything was, as far as variables and files tell."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A finished cell, however it finished."""

    outputs: tuple[Output, ...] = ()
    """Folded as Jupyter folds them and cut to the caps; the error is among them."""
    execution_count: int | None = None
    seconds: float = 0.0
    timed_out: bool = False
    """The cell was interrupted because its time was up."""
    broke: str | None = None
    """Why the kernel that ran it could not go on; None when it could."""
    state_lost: str | None = None
    """Why the kernel's memory is not what the agent left there; None while it is."""
    recovery: Recovery | None = None
    """How the kernel was put back after it broke; None when it did not break."""
    dropped_bytes: int = 0
    """Bytes of output beyond the caps: counted, not kept."""
    late: tuple[Output, ...] = ()
    """What threads and programs left over from earlier cells printed before and during this one."""
    variables: tuple[Variable, ...] = ()
    files: tuple[FileChange, ...] = ()

    @property
    def undone(self) -> bool:
        """Whether it broke the kernel, so that nothing it did lasts."""
        recovery = self.recovery
        return recovery is not None and recovery.how != "again" and not recovery.before

    @property
    def error(self) -> CellError | None:
        """The exception that ended the cell, as its last error output shows it."""
        for output in reversed(self.outputs):
            if output["output_type"] == "error":
                return CellError(
                    name=output["ename"],
                    value=output["evalue"],
                    traceback=tuple(output["traceback"]),
                )
        return None
