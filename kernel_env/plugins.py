"""Find a sandbox, an agent or a metric by name.

Built-in and third-party ones are found in the same way: as entry points of the groups
`kernel_env.sandboxes`, `kernel_env.agents` and `kernel_env.metrics`.
"""

from importlib.metadata import entry_points
from typing import Any, Literal

from kernel_env.errors import UnknownName, UsageError

Kind = Literal["sandbox", "agent", "metric"]
_GROUPS: dict[Kind, str] = {
    "sandbox": "kernel_env.sandboxes",
    "agent": "kernel_env.agents",
    "metric": "kernel_env.metrics",
}


def names(kind: Kind) -> list[str]:
    """Return the names that `find` accepts, sorted."""
    return sorted(entry_points(group=_GROUPS[kind]).names)


def find(kind: Kind, name: str) -> Any:
    """Load the plug-in of this kind and name.

    Raises:
        UnknownName: no plug-in has this name.
        UsageError: the plug-in cannot be imported.
    """
    for entry in entry_points(group=_GROUPS[kind], name=name):
        try:
            return entry.load()
        except ImportError as error:
            raise UsageError(f"the {kind} {name!r} cannot be imported: {error}") from error
    raise UnknownName(kind, name, names(kind))
