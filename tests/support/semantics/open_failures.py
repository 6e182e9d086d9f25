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
        cause="one of two errors is shown when the text of an exception cannot be made",
        names=("strange-exceptions",),
        modes=MODES,
    ),
    OpenFailure(
        cause="processes and streams of asyncio wait for ever in a copy",
        names=("bash-in-the-background", "background-job-ended-in-a-later-cell"),
    ),
    OpenFailure(
        cause="ZeroMQ sockets wait for ever in a copy", names=("zmq-sockets-of-the-program",)
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
