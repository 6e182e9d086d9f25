"""Select a sandbox: by name, or `auto` for Docker if an engine answers and `local` if not."""

import warnings
from collections.abc import Callable

from kernel_env import plugins
from kernel_env.errors import SandboxError
from kernel_env.sandbox.protocol import Sandbox, Spec


class NotIsolatedWarning(UserWarning):
    """The agent's code will run with all the rights of this user."""


def choose(name: str) -> tuple[str, Callable[[Spec], Sandbox]]:
    """Return the sandbox's name and the function that makes one.

    `auto` falls back to `local`; a sandbox that is named is never replaced by another. `local`
    is accompanied by a `NotIsolatedWarning`, whichever way it was selected.

    Raises `UnknownName`.
    """
    if name != "auto":
        if name == "local":
            warnings.warn(
                "NOTHING IS ISOLATED in the local sandbox: the agent's code runs as you, with"
                " your files and your network.",
                NotIsolatedWarning,
                stacklevel=3,
            )
        return name, plugins.find("sandbox", name)
    from kernel_env.sandbox.docker import engine

    try:
        engine.connect().close()
    except SandboxError as error:
        warnings.warn(
            f"NOTHING IS ISOLATED: {error}. Falling back to the local sandbox, in which the"
            " agent's code runs as you, with your files and your network.",
            NotIsolatedWarning,
            stacklevel=3,
        )
        name = "local"
    else:
        name = "docker"
    return name, plugins.find("sandbox", name)
