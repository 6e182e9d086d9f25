"""Find a sandbox, an agent, a metric or a provider of feedback by name.

Built-in and third-party ones are found in the same way: as entry points of the groups
`kernel_env.sandboxes`, `kernel_env.agents`, `kernel_env.metrics` and `kernel_env.feedback`.
"""

import sys
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal

from kernel_env.errors import UnknownName, UsageError

Kind = Literal["sandbox", "agent", "metric", "feedback provider"]
_GROUPS: dict[Kind, str] = {
    "sandbox": "kernel_env.sandboxes",
    "agent": "kernel_env.agents",
    "metric": "kernel_env.metrics",
    "feedback provider": "kernel_env.feedback",
}


def entries(kind: Kind) -> EntryPoints:
    """Return the entry points of this kind."""
    return entries_on(tuple(sys.path), _GROUPS[kind])


@cache
def entries_on(path: tuple[str, ...], group: str) -> EntryPoints:  # noqa: ARG001 - looked up there
    """Return the entry points of a group; installed packages are read once for each module path."""
    return entry_points(group=group)


def names(kind: Kind) -> list[str]:
    """Return the names that `find` accepts, sorted."""
    return sorted(entries(kind).names)


def find(kind: Kind, name: str) -> Any:
    """Load the plug-in of this kind and name.

    Raises:
        UnknownName: no plug-in has this name.
        UsageError: the plug-in cannot be loaded.
    """
    for entry in entries(kind).select(name=name):
        try:
            return entry.load()
        except Exception as error:
            raise UsageError(
                f"the {kind} {name!r} ({entry.value}) cannot be loaded: {described(error)}"
            ) from error
    raise UnknownName(kind, name, names(kind))


def load_class(path: str, name: str) -> Any:
    """Load a class from a Python file, which can import modules beside it. Raises `UsageError`."""
    file = Path(path).resolve()
    spec = spec_from_file_location(f"{file.stem}_file", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; expected FILE.py:CLASS")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = sys.modules[spec.name] = module_from_spec(spec)  # dataclasses look it up
        spec.loader.exec_module(module)
        return getattr(module, name)
    except Exception as error:
        raise UsageError(f"{name} cannot be loaded from {path}: {described(error)}") from error


def described(error: BaseException) -> str:
    """Return the type and the text of an exception of code that is not ours."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
