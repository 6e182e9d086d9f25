"""Give each container a user ID of its own.

Linux limits many things per user and not per container: inotify instances, user namespaces, pipes,
keys, pending signals. Programs that use them up under one ID take them from all that have it.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernel_env import cache
from kernel_env.errors import SandboxError
from kernel_env.sandbox.locks import try_lock, unlock

FIRST, COUNT = 10001, 50_000
"""User IDs of containers: unlikely to be those of host accounts, and known to engines that map only
the first 65,536."""


@contextmanager
def hold_user_id() -> Iterator[int]:
    """Hold a user ID that no other container of this user's cache has.

    Where the search begins depends on the cache, so that those of others seldom meet it.
    Raises `SandboxError`.
    """
    folder = cache.folder() / "users"
    start = zlib.crc32(str(folder).encode()) % COUNT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        user, lock = next(
            (user, lock)
            for number in range(COUNT)
            if (lock := try_lock(folder / str(user := FIRST + (start + number) % COUNT)))
            is not None
        )
    except OSError as error:
        raise SandboxError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield user
    finally:
        unlock(lock)


def write_accounts(folder: Path, user: int, home: str) -> dict[Path, str]:
    """Write the files with the names of users and groups; return where they belong inside."""
    accounts = {
        "passwd": f"root:x:0:0:root:/root:/bin/sh\nagent:x:{user}:{user}::{home}:/bin/bash\n",
        "group": f"root:x:0:\nagent:x:{user}:\n",
    }
    for name, text in accounts.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o644)
    return {folder / name: f"/etc/{name}" for name in accounts}
