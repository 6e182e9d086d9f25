"""Define what a kernel returns for a cell: outputs, changes, and how it was recovered."""

from dataclasses import dataclass
from typing import Any, Literal

from kernel_env.field_docs import show_fields

Output = dict[str, Any]
"""An output of a cell in nbformat's form (`output_type`, `data`, `text`, …)."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class CellError:
    """The exception that ended a cell."""

    name: str
    value: str
    traceback: tuple[str, ...] = ()
    """Lines as IPython prints them, with ANSI colours."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable that a cell defined, changed or deleted."""

    name: str
    type: str
    shape: str = ""
    """Rows and columns, or a length, if the type has one: `(3, 4)`, `12`."""
    megabytes: float = 0.0
    change: Literal["new", "changed", "deleted"] = "new"


@show_fields
@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file in the workspace that a cell created, changed or deleted."""

    path: str
    """Relative to the workspace."""
    bytes: int = 0
    change: Literal["new", "changed", "deleted"] = "new"


@show_fields
@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How a kernel that crashed was recovered."""

    cause: str
    """Why the kernel crashed."""
    how: Literal["standby", "replay", "again"]
    """`standby`: the latest standby took over; `replay`: cells were replayed in a fresh kernel or
    from an older checkpoint; `again`: checkpoints were freed and this cell was run again."""
    before: bool = False
    """Whether the kernel crashed before this cell, which then ran; otherwise this cell crashed it
    and was undone."""
    cells: int = 0
    """Number of earlier cells that were replayed."""
    seconds: float = 0.0
    note: str = ""
    """What else the agent should know."""
    lost: str = ""
    """What could not be restored, compared by names, types, shapes and sizes of variables and
    files; empty if nothing differs."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell that has ended, in whatever way."""

    outputs: tuple[Output, ...] = ()
    """Merged as Jupyter does and limited by the caps; the error is one of them."""
    execution_count: int | None = None
    seconds: float = 0.0
    timed_out: bool = False
    """The cell was interrupted because its time was up."""
    broke: str | None = None
    """Why the kernel that ran it crashed; None if it did not."""
    state_lost: str | None = None
    """Why variables or files are not as the agent left them; None if they are."""
    recovery: Recovery | None = None
    """How the kernel was recovered; None if it did not crash."""
    dropped_bytes: int = 0
    """Bytes of output beyond the caps; they were counted and not kept."""
    late: tuple[Output, ...] = ()
    """Output of threads and programs of earlier cells, before and during this one."""
    variables: tuple[Variable, ...] = ()
    files: tuple[FileChange, ...] = ()
    note: str = ""
    """What else the agent should know about how the cell was run."""
    full_folders: tuple[str, ...] = ()
    """Folders of the agent without free space at the end of the cell."""

    @property
    def undone(self) -> bool:
        """Return whether it crashed the kernel, so that nothing it did lasts."""
        recovery = self.recovery
        return recovery is not None and recovery.how != "again" and not recovery.before

    @property
    def error(self) -> CellError | None:
        """Return the exception that ended the cell, from its last error output."""
        for output in reversed(self.outputs):
            if output["output_type"] == "error":
                return CellError(
                    name=output["ename"],
                    value=output["evalue"],
                    traceback=tuple(output["traceback"]),
                )
        return None


def describe_recovery(recovery: Recovery) -> str:
    """Describe what crashed the kernel, what was undone, and what may differ."""
    many = recovery.cells > 1
    earlier, were = f"{recovery.cells} earlier cell{'s' if many else ''}", "were" if many else "was"
    if recovery.how == "again":
        done = "checkpoints were freed and the cell was run again; shown is the second run"
    elif recovery.before:
        done = "it was restored to the state after the last cell, and then this cell ran"
    elif recovery.cells or recovery.lost:
        done = "this cell was undone"
    else:
        done = "this cell was undone: variables and files are as they were before it"
    if recovery.cells:
        done += (
            f"; {earlier} {were} replayed in {recovery.seconds:.1f} s, so values that depend on"
            " time or chance may differ"
        )
    if recovery.lost:
        done += "; not everything could be restored"
    note = f" Note: {recovery.note}." if recovery.note else ""
    return (
        f"{recovery.cause}; {done}. Threads, pools and processes of earlier cells have ended.{note}"
    )
