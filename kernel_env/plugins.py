"""Find a sandbox, an agent or a metric by name.

Built-in and third-party ones are found in the same way: as entry points of the groups
`kernel_env.sandboxes`, `kernel_env.agents` and `kernel_env.metrics`.
"""

from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Literal

from kernel_env.errors import UnknownName, UsageError

Kind = Literal["sandbox", "agent", "metric"]
_GROUPS: dict[Kind, str] = {
    "sandbox": "kernel_env.sandboxes",
    "agent": "kernel_env.agents",
    "metric": "kernel_env.metrics",
}


@cache
def entries(kind: Kind) -> EntryPoints:
    """Return the entry points of this kind; the installed packages are read once per process."""
    return entry_points(group=_GROUPS[kind])


def names(kind: Kind) -> list[str]:
    """Return the names that `find` accepts, sorted."""
    return sorted(entries(kind).names)


def find(kind: Kind, name: str) -> Any:
    """Load the plug-in of this kind and name.

    Raises:
        UnknownName: no plug-in has this name.
        UsageError: the plug-in cannot be imported.
    """
    for entry in entries(kind).select(name=name):
        try:
            return entry.load()
        except ImportError as error:
            raise UsageError(f"the {kind} {name!r} cannot be imported: {error}") from error
    raise UnknownName(kind, name, names(kind))
