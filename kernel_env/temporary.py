"""Temporary folders of ours, named so that one left by a killed process can be told."""

import os
import tempfile
from pathlib import Path

PREFIX = "kernel-env-"


def folder() -> Path:
    """A new folder that only this user can enter; whoever makes it removes it. Raises `OSError`."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def abandoned() -> list[Path]:
    """Folders of ours whose process is no longer running."""
    found = Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*")
    return sorted(path for path in found if not running(path.name))


def of(pid: int) -> list[Path]:
    """Folders that this process made and did not remove."""
    return sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}{pid}-*"))


def running(name: str) -> bool:
    """Whether the process that a folder is named after runs; a name unlike ours is left alone."""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return not pid.isdigit() or process_runs(int(pid))


def process_runs(pid: int) -> bool:
    """Whether a process of this number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
