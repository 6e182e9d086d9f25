"""Find the magics that run on the host, in the cells that clients send."""

from collections.abc import Collection

from kernel_env.errors import UsageError


def called_command(code: str, names: Collection[str]) -> tuple[str, str] | None:
    """Return the command that a cell calls, and the rest of its line; None if it calls none.

    Raises `UsageError` if other lines follow: they would run before or after what the command
    changes, and it is not clear which.
    """
    line, _, rest = code.strip().partition("\n")
    name, _, argument = line.removeprefix("%").partition(" ")
    if not line.startswith("%") or name not in names:
        return None
    if rest.strip():
        raise UsageError(f"%{name} must be the only line of its cell")
    return name, argument.strip()
