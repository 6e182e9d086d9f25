"""List the programs that do not yet run as in plain Jupyter, with the cause.

They are left out by default. `make test-semantics` fails when one of them runs as it should, so
that it is removed from here.
"""

from dataclasses import dataclass

from support.semantics.program import COPIES, MODES, Mode


@dataclass(frozen=True, kw_only=True)
class OpenFailure:
    """A cause for which programs fail in some modes."""

    cause: str
    names: tuple[str, ...]
    modes: tuple[Mode, ...] = COPIES


OVERLAYS: tuple[Mode, ...] = ("trial", "fork")
"""The modes in which a copy runs beside the original, in an overlay."""

OPEN_FAILURES = (
    OpenFailure(
        cause="a checkpoint changes the filters of warnings, so a warning is shown again",
        names=("warning-of-a-module-shown-once", "exit-and-system-exit"),
        modes=MODES,
    ),
    OpenFailure(
        cause="`Popen` reports -9 for a child of this kernel that was reaped by another",
        names=("children-reaped-automatically",),
        modes=MODES,
    ),
    OpenFailure(
        cause="one of two errors is shown when the text of an exception cannot be made",
        names=("strange-exceptions",),
        modes=MODES,
    ),
    OpenFailure(
        cause="context variables that a cell set are unset in a copy",
        names=("context-variables", "decimal-locale-and-time-zone", "settings-of-libraries"),
    ),
    OpenFailure(
        cause="a child that was spawned opens the semaphores of the original by name",
        names=(
            "process-and-queue-spawn",
            "process-and-queue-forkserver",
            "event-lock-and-value-with-a-child-spawn",
            "event-lock-and-value-with-a-child-forkserver",
        ),
    ),
    OpenFailure(
        cause="locks of asyncio that were waited for belong to the loop of the original",
        names=("lock-that-was-waited-for",),
    ),
    OpenFailure(
        cause="processes and streams of asyncio wait for ever in a copy",
        names=("bash-in-the-background", "background-job-ended-in-a-later-cell"),
    ),
    OpenFailure(
        cause="ZeroMQ sockets wait for ever in a copy", names=("zmq-sockets-of-the-program",)
    ),
    OpenFailure(
        cause="a file in memory is shared with the copies",
        names=("file-in-memory",),
        modes=OVERLAYS,
    ),
    OpenFailure(
        cause="SQLite cannot write in an overlay to a file that was opened before",
        names=("sqlite-across-cells",),
        modes=OVERLAYS,
    ),
    OpenFailure(
        cause="a working directory that was deleted is another one in an overlay",
        names=("working-directory-removed",),
        modes=OVERLAYS,
    ),
    OpenFailure(
        cause="a copy connects to ports of the original",
        names=("listen-connect-accept-across-cells",),
        modes=OVERLAYS,
    ),
)


def open_failure(name: str, mode: Mode) -> str:
    """Return why a program is known to fail in a mode; empty if it is not."""
    causes = (each.cause for each in OPEN_FAILURES if name in each.names and mode in each.modes)
    return next(causes, "")
