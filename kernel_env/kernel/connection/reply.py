"""Read what a kernel reports in the reply to a cell: untrusted, in any form."""

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kernel_env.kernel.cell import FileChange, Variable
from kernel_env.kernel.connection.outputs import json_of, text_of

MAX_CHANGES = 100
"""Maximum number of changed variables, and of files, taken from one reply."""
NAME_CHARACTERS = 200
"""Maximum length of the name of a variable or file."""
T = TypeVar("T")
DROPPED = ("stdout", "stderr", "display")
"""The counters of what the kernel left out itself."""
VARIABLES = TypeAdapter(tuple[Variable, ...])
FILES = TypeAdapter(tuple[FileChange, ...])


def parsed(adapter: TypeAdapter[tuple[T, ...]], report: Any) -> tuple[T, ...]:
    """Validate what the kernel reported; returns () if it is not as expected."""
    try:
        return adapter.validate_python(
            [
                {name: bounded(value) for name, value in json_of(entry).items()}
                for entry in report[:MAX_CHANGES]
            ]
        )
    except (ValidationError, TypeError, KeyError, AttributeError):
        return ()


def names_in(value: Any) -> tuple[str, ...]:
    """Return the names in what the kernel reported, each on one line; () if it is not a list."""
    names = value[:MAX_CHANGES] if isinstance(value, list) else []
    lines = (" ".join(text_of(name)[:NAME_CHARACTERS].split()) for name in names)
    return tuple(line for line in lines if line)


def bounded(value: Any) -> Any:
    """Limit the size of a text or number."""
    match value:
        case str():
            return value[:NAME_CHARACTERS]
        case int():
            return max(0, min(value, 1 << 62))
    return value
