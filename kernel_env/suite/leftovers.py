"""Remove the temporary folders of processes that played episodes of a suite and were killed.

A process that plays has a file in the suite's folder `players`, named after machine and process,
as long as it plays. A file whose process is gone was left by one that was killed. Processes of
other machines are left to those.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernel_env import temporary
from kernel_env.errors import SandboxError

PLAYERS = "players"


@contextmanager
def registered(suite: Path) -> Iterator[None]:
    """Register this process as one that plays, and clean up after others before and afterwards.

    Raises `SandboxError` if the suite's folder cannot be written.
    """
    file = suite / PLAYERS / f"{socket.gethostname()}-{os.getpid()}"
    try:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    except OSError as error:
        raise SandboxError(f"{file} cannot be written: {error.strerror}") from error
    try:
        remove_left(suite)
        yield
        remove_left(suite)
    finally:
        file.unlink(missing_ok=True)


def remove_left(suite: Path) -> None:
    """Remove what processes of this machine left that were killed."""
    for file in (suite / PLAYERS).glob(f"{socket.gethostname()}-*"):
        _, _, pid = file.name.rpartition("-")
        if pid.isdecimal() and not temporary.process_runs(int(pid)):
            for folder in temporary.folders_of(int(pid)):
                temporary.remove(folder)
            file.unlink(missing_ok=True)
