"""Create temporary folders and find the ones that a killed process left behind.

A folder's name contains the process id of its creator.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "kernel-env-"


def folder() -> Path:
    """Create a folder that only this user can enter.

    The caller removes it with `remove`. Raises `OSError`.
    """
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def remove(folder: Path) -> None:
    """Remove a folder with all it contains, as far as this user can.

    Folders in it may deny access: an agent's, and those that overlays leave behind.
    """
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def abandoned() -> list[Path]:
    """List the folders whose creator is no longer running."""
    found = Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*")
    return sorted(path for path in found if not creator_is_running(path.name))


def folders_of(pid: int) -> list[Path]:
    """List the folders that this process created and did not remove."""
    return sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}{pid}-*"))


def creator_is_running(name: str) -> bool:
    """Return whether the process whose id is in a folder's name is running.

    A name without a process id counts as running, so that such a folder is never removed.
    """
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return not pid.isdigit() or process_runs(int(pid))


def process_runs(pid: int) -> bool:
    """Return whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
