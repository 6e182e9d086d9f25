"""Let only one driver play a suite, or a share of it, at a time.

The lock is an advisory lock (`flock`) on `suite.lock`, or `suite-1of4.lock` for a share. The system
releases it whenever the driver ends, also by `kill -9`. Some network file systems grant a lock to
two machines. So the driver also writes its name and the time into the file, again every minute, and
a driver on another machine that finds a recent one does not start. The clocks of the machines may
differ by a minute.
"""

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_env.errors import SandboxError, UsageError
from kernel_env.suite.log import name_of
from kernel_env.suite.plan import Shard

NAME = "suite"
HEARTBEAT_S = 60.0
FRESH_S = 180.0
"""A driver that wrote its name longer ago has ended."""


class Lock:
    """The right to play a suite's share, while the block runs.

    Raises `UsageError` if another driver has it, or plays an overlapping share.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        self.folder, self.shard = folder, shard
        self.path = folder / f"{NAME}{name_of(shard)}.lock"
        self._file = -1
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat_until_ended, daemon=True)

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SandboxError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            if not lock_patiently(self._file) or is_fresh(read_owner(self.path)):
                self._refuse(self.path)
            for other in overlapping(self.folder, self.shard):
                if is_held(other):
                    self._refuse(other)
            self.beat()
        except BaseException:
            os.close(self._file)
            raise
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._beating.join()
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            with suppress(SandboxError):  # a full disk: the records say so
                self.beat()

    def beat(self) -> None:
        """Write the driver's name and the time. Raises `SandboxError`."""
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
        data = json.dumps(owner).encode()
        try:
            os.pwrite(self._file, data, 0)
            os.ftruncate(self._file, len(data))
        except OSError as error:
            raise SandboxError(f"{self.path} cannot be written: {error.strerror}") from error

    def _refuse(self, path: Path) -> None:
        owner = read_owner(path)
        who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
        held = f"{path.name} says so"
        if owner and owner["host"] != socket.gethostname():
            left = max(1, round(FRESH_S - (time.time() - owner["at"])))
            held += f"; if that machine has ended, wait {left} s"
        raise UsageError(
            f"{self.folder.name} is being played by {who} ({held}); stop it with"
            " kernel-env suite stop"
        )


def lock_patiently(file: int) -> bool:
    """Lock an open file as `try_lock` does; a command that looks holds a lock for an instant."""
    for _ in range(5):
        if try_lock(file):
            return True
        time.sleep(0.05)
    return False


def try_lock(file: int) -> bool:
    """Lock an open file, and return whether nobody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Return whether a driver has a lock, as far as this machine can know."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(file) or is_fresh(read_owner(path))
    finally:
        os.close(file)


def is_fresh(owner: dict[str, Any] | None) -> bool:
    """Return whether a driver on another machine has lately said that it runs.

    One on this machine would hold the lock.
    """
    if owner is None or owner["host"] == socket.gethostname():
        return False
    return bool(abs(time.time() - owner["at"]) < FRESH_S)


def read_owner(path: Path) -> dict[str, Any] | None:
    """Return host, process and time that a driver has written; None if there are none."""
    try:
        found = json.loads(path.read_bytes())
        return {"host": str(found["host"]), "pid": int(found["pid"]), "at": float(found["at"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def overlapping(folder: Path, shard: Shard) -> list[Path]:
    """Return the lock files of other drivers that would play jobs of this share, too."""
    own = f"{NAME}{name_of(shard)}.lock"
    return [
        path
        for path in sorted(folder.glob(f"{NAME}*.lock"))
        if path.name != own
        and (shard.count == 1 or not path.name.endswith(f"of{shard.count}.lock"))
    ]


def running(folder: Path) -> list[Path]:
    """Return the lock files of all drivers that play a suite."""
    return [path for path in sorted(folder.glob(f"{NAME}*.lock")) if is_held(path)]
