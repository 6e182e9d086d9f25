"""Find a sandbox, an agent, a metric or a task source by name.

Ours and other people's are found the same way: as entry points of the groups
`kernel_env.sandboxes`, `kernel_env.agents`, `kernel_env.metrics` and `kernel_env.tasks`.
"""

from importlib.metadata import entry_points
from typing import Any, Literal

from kernel_env.errors import UnknownName, UsageError

Kind = Literal["sandbox", "agent", "metric", "task"]
_GROUPS: dict[Kind, str] = {
    "sandbox": "kernel_env.sandboxes",
    "agent": "kernel_env.agents",
    "metric": "kernel_env.metrics",
    "task": "kernel_env.tasks",
}


def names(kind: Kind) -> list[str]:
    """The names that `find` would accept, sorted."""
    return sorted(entry_points(group=_GROUPS[kind]).names)


def find(kind: Kind, name: str) -> Any:
    """Load the plug-in of this kind and name.

    Raises `UnknownName` when there is none, `UsageError` when it cannot be imported.
    """
    for entry in entry_points(group=_GROUPS[kind], name=name):
        try:
            return entry.load()
        except ImportError as error:
            raise UsageError(f"the {kind} {name!r} cannot be imported: {error}") from error
    raise UnknownName(kind, name, names(kind))
