"""Report what a cell changed: variables of the kernel and files of the workspace.

Comparisons are cheap and shallow. A variable counts as changed if it is bound to another object,
or if the object's type, shape or size differs. A value overwritten in place at the same size is
not noticed.
"""

import os
import sys
import tempfile
import time
import types
from collections.abc import Mapping
from typing import Any

MAX_REPORTED = 50
"""Most variables, and most files, reported for one cell."""
MAX_FILES = 5000
MAX_SECONDS = 0.05
"""Limits of the search through the workspace; files beyond them are not reported."""

ARRAY_LIBRARIES = ("numpy", "pandas", "scipy", "torch", "polars", "xgboost", "lightgbm")
"""Libraries whose objects report shape and size without running code of the agent."""
CONTAINERS = (str, bytes, bytearray, list, tuple, dict, set, frozenset)

LITTLE_BYTES = 1 << 20
"""A folder with less free space counts as full."""

Fingerprint = tuple[int, str, str, int]
"""Identity, type, shape and size in bytes of a value."""


def fingerprint(value: Any) -> Fingerprint:
    """Return identity, type, shape and size of a value."""
    cls = type(value)
    name, shape, size = cls.__name__[:100], "", 0
    if cls in CONTAINERS:
        shape, size = str(len(value)), sys.getsizeof(value)
    elif (cls.__module__ or "").partition(".")[0] in ARRAY_LIBRARIES:
        try:
            shape = str(tuple(value.shape)) if hasattr(value, "shape") else ""
            size = int(getattr(value, "nbytes", 0) if name != "DataFrame" else frame_bytes(value))
        except Exception:  # noqa: BLE001, S110 - half-initialised: report the type
            pass
    return id(value), name, shape, size


def frame_bytes(frame: Any) -> int:
    """Return the memory of a DataFrame's columns in bytes; strings count as pointers."""
    return int(frame.memory_usage(index=False, deep=False).sum())


def is_imported(value: Any) -> bool:
    """Return whether a value is a module, or a function or class not defined in a cell."""
    if isinstance(value, types.ModuleType):
        return True
    code = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    return code and getattr(value, "__module__", None) != "__main__"


def user_variables(
    namespace: Mapping[str, Any], hidden: Mapping[str, Any]
) -> dict[str, Fingerprint]:
    """Return the agent's variables: nothing imported, private, or defined by IPython."""
    return {
        name: fingerprint(value)
        for name, value in list(namespace.items())
        if not name.startswith("_") and name not in hidden and not is_imported(value)
    }


def list_files(root: str) -> dict[str, tuple[int, int]]:
    """Return size and modification time of the files below a folder, within the limits."""
    found: dict[str, tuple[int, int]] = {}
    folders, deadline = [root], time.monotonic() + MAX_SECONDS
    while folders and len(found) < MAX_FILES and time.monotonic() < deadline:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        s = entry.stat(follow_symlinks=False)
                        found[entry.path[len(root) + 1 :]] = (s.st_size, s.st_mtime_ns)
        except OSError:
            continue  # a folder that was deleted or is not readable
    return found


def full_folders(root: str) -> list[str]:
    """Return those of the agent's folders that are full: many libraries do not say so."""
    found = []
    for folder in (root, os.path.expanduser("~"), tempfile.gettempdir(), "/dev/shm"):  # noqa: S108
        try:
            space = os.statvfs(folder)
        except OSError:
            continue
        if space.f_bavail * space.f_frsize < LITTLE_BYTES or space.f_favail == 0 < space.f_files:
            found.append(folder)
    return found


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, new | changed | deleted) for each entry that differs."""
    changes = [
        (k, "changed" if k in before else "new") for k, v in after.items() if before.get(k) != v
    ]
    changes += [(k, "deleted") for k in before if k not in after]
    return changes[:MAX_REPORTED]


class NamespaceDiff:
    """Remembers variables and files, and reports the changes since the last report."""

    def __init__(self, namespace: Mapping[str, Any], hidden: Mapping[str, Any], root: str) -> None:
        self.namespace, self.hidden, self.root = namespace, hidden, root
        self.names, self.files = user_variables(namespace, hidden), list_files(root)

    def report(self) -> dict[str, list[Any]]:
        """Return the changes since the last report, as JSON."""
        variables_before, self.names = self.names, user_variables(self.namespace, self.hidden)
        files_before, self.files = self.files, list_files(self.root)
        variables = []
        for name, change in compare(variables_before, self.names):
            if change == "deleted" and name in self.namespace:
                continue  # it is there, and imported now
            _, cls, shape, size = self.names.get(name) or variables_before[name]
            variables.append(
                {
                    "name": name,
                    "type": cls,
                    "shape": shape,
                    "megabytes": round(size / 1e6, 3),
                    "change": change,
                }
            )
        written = [
            {"path": path, "bytes": self.files.get(path, (0, 0))[0], "change": change}
            for path, change in compare(files_before, self.files)
        ]
        return {"variables": variables, "files": written, "full": full_folders(self.root)}
