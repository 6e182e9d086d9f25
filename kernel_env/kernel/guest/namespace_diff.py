"""What a cell changed: names in the kernel and files in the workspace.

Only cheap, shallow questions are asked: a name counts as changed when it is bound
to another object, or when the object's type, shape or size differ. A value that
was overwritten in place at the same size is not noticed.
"""

import os
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

MOST = 50
"""Variables and files reported for one cell, each."""
MOST_FILES = 5000
MOST_SECONDS = 0.05
"""Looking through the workspace stops at either; what was not reached is not reported."""

SHAPED = ("numpy", "pandas", "scipy", "torch", "polars", "xgboost", "lightgbm")
"""Libraries whose objects can be asked for a shape and a size without running code of the agent."""
CONTAINERS = (str, bytes, bytearray, list, tuple, dict, set, frozenset)

Print = tuple[int, str, str, int]
"""What identifies a value from outside: identity, type, shape, bytes."""


def describe(value: Any) -> Print:
    """Identity, type, shape and size of a value."""
    kind = type(value)
    name, shape, size = kind.__name__[:100], "", 0
    if kind in CONTAINERS:
        shape, size = str(len(value)), sys.getsizeof(value)
    elif (kind.__module__ or "").partition(".")[0] in SHAPED:
        try:
            shape = str(tuple(value.shape)) if hasattr(value, "shape") else ""
            size = int(getattr(value, "nbytes", 0) if name != "DataFrame" else frame_bytes(value))
        except Exception:  # noqa: BLE001, S110 - a half-made object: its type is all we say
            pass
    return id(value), name, shape, size


def frame_bytes(frame: Any) -> int:
    """The memory of a DataFrame's columns, strings counted as pointers."""
    return int(frame.memory_usage(index=False, deep=False).sum())


def imported(value: Any) -> bool:
    """Modules, and the functions and classes that were not defined here."""
    if isinstance(value, types.ModuleType):
        return True
    code = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    return code and getattr(value, "__module__", None) != "__main__"


def names(namespace: Mapping[str, Any], hidden: Mapping[str, Any]) -> dict[str, Print]:
    """The agent's own names: nothing imported, nothing private, nothing IPython put there."""
    return {
        name: describe(value)
        for name, value in list(namespace.items())
        if not name.startswith("_") and name not in hidden and not imported(value)
    }


def files(root: str) -> dict[str, tuple[int, int]]:
    """Size and modification time of the files below a folder, as far as time allows."""
    found: dict[str, tuple[int, int]] = {}
    folders, end = [root], time.monotonic() + MOST_SECONDS
    while folders and len(found) < MOST_FILES and time.monotonic() < end:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        s = entry.stat(follow_symlinks=False)
                        found[entry.path[len(root) + 1 :]] = (s.st_size, s.st_mtime_ns)
        except OSError:
            continue  # a folder that vanished or may not be read
    return found


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, new | changed | deleted) for what is not the same in the two."""
    told = [
        (k, "changed" if k in before else "new") for k, v in after.items() if before.get(k) != v
    ]
    told += [(k, "deleted") for k in before if k not in after]
    return told[:MOST]


class Changes:
    """Remembers how things stood and tells what is different now."""

    def __init__(self, namespace: Mapping[str, Any], hidden: Mapping[str, Any], root: str) -> None:
        self.namespace, self.hidden, self.root = namespace, hidden, root
        self.names, self.files = names(namespace, hidden), files(root)

    def tell(self) -> dict[str, list[dict[str, Any]]]:
        """What changed since the last time, as JSON."""
        was, self.names = self.names, names(self.namespace, self.hidden)
        were, self.files = self.files, files(self.root)
        variables = []
        for name, change in difference(was, self.names):
            _, kind, shape, size = self.names.get(name) or was[name]
            variables.append(
                {
                    "name": name,
                    "type": kind,
                    "shape": shape,
                    "megabytes": round(size / 1e6, 3),
                    "change": change,
                }
            )
        written = [
            {"path": path, "bytes": self.files.get(path, (0, 0))[0], "change": change}
            for path, change in difference(were, self.files)
        ]
        return {"variables": variables, "files": written}
