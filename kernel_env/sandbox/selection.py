"""Which sandbox to use: a name, or `auto` for the engine that answers and else a plain process."""

import warnings
from collections.abc import Callable

from kernel_env import plugins
from kernel_env.errors import SandboxError
from kernel_env.sandbox.protocol import Sandbox, Spec


class NotIsolatedWarning(UserWarning):
    """Code of the agent will run with all the rights of this user."""


def choose(name: str) -> tuple[str, Callable[[Spec], Sandbox]]:
    """The sandbox's name and what makes one. Raises `UnknownName`.

    `auto` falls back to `local`; a sandbox that was asked for by name is never replaced by
    another. `local` comes with a `NotIsolatedWarning`, whichever way it was chosen.
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
