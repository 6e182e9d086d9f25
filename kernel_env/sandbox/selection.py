"""Select a sandbox: by name, or `auto` for Docker where an engine answers."""

import warnings
from collections.abc import Callable

from kernel_env import plugins
from kernel_env.errors import SandboxError, UnknownName
from kernel_env.sandbox.protocol import Sandbox, Spec


class NotIsolatedWarning(UserWarning):
    """The agent's code will run with all the rights of this user."""


def choose(name: str, *, trusted: bool) -> tuple[str, Callable[[Spec], Sandbox]]:
    """Return the sandbox's name and the function that makes one.

    A sandbox that does not isolate is accompanied by a `NotIsolatedWarning`.

    Args:
        name: a sandbox's name, which is never replaced by another; or `auto`.
        trusted: whether the code that will run is the operator's own. Then `auto` selects `local`
            where no engine answers.

    Raises `UnknownName`, and `SandboxError` for `auto` without an engine.
    """
    reason = ""
    if name == "auto":
        name, reason = resolve_auto(trusted=trusted)
    try:
        make = plugins.find("sandbox", name)
    except UnknownName as error:
        raise UnknownName("sandbox", name, ["auto", *plugins.names("sandbox")]) from error
    if not make.isolated:
        warnings.warn(
            f"NOTHING IS ISOLATED in the sandbox {name}{reason}: the agent's code runs as you, with"
            " your files and your network.",
            NotIsolatedWarning,
            stacklevel=3,
        )
    return name, make


def resolve_auto(*, trusted: bool) -> tuple[str, str]:
    """Return the sandbox that `auto` means on this machine, and why it is not docker.

    Raises `SandboxError` where no engine answers and the code is not trusted.
    """
    from kernel_env.sandbox.docker import engine

    try:
        engine.connect().close()
    except SandboxError as error:
        if not trusted:
            raise SandboxError(
                f"{error}. Without an engine nothing isolates this code, which is not yours;"
                " --sandbox local runs it as you all the same"
            ) from error
        return "local", f", selected because {error}"
    return "docker", ""
