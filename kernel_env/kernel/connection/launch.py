"""Launch a kernel: the host binds its sockets and passes them to a program in a sandbox.

The result is a `Launched`: where to connect, and a process that can end. How the kernel is then
used (`client`) does not depend on how it was launched.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_env import temporary
from kernel_env.kernel.connection.control_channel import ControlChannel
from kernel_env.kernel.guest import __path__ as guest_path
from kernel_env.sandbox.protocol import Process, Sandbox

PROGRAM = PurePosixPath("/opt/kernel_env/guest")
"""Where a sandbox must provide the guest package of kernels; see `PROGRAM_FOLDER`."""
PROGRAM_FOLDER = Path(guest_path[0])
"""The folder of the host to provide there."""

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A kernel that was started. It need not be ready yet, and can end at any time."""

    connection_info: Mapping[str, Any]
    """What `jupyter_client` needs to connect from the host."""
    process: Process
    channel: ControlChannel | None = None
    """The control channel by which it is forked; None for a plain kernel."""
    folder: Path
    """On the host, with the names of the sockets; `release` removes it."""

    def release(self) -> None:
        """Remove the names of the sockets and close the control channel. Connections persist."""
        temporary.remove(self.folder)
        if self.channel is not None:
            self.channel.close()


def boot_command(sandbox: Sandbox, program: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return the command that starts a program of the guest package in a sandbox."""
    boot = sandbox.guest_path(PROGRAM) / "boot.py"
    return [sandbox.python, str(boot), program, json.dumps(arguments)]


async def launch(
    sandbox: Sandbox,
    *,
    env: Mapping[str, str] | None = None,
    payloads: bool = False,
) -> Launched:
    """Start a plain kernel in a sandbox.

    Args:
        sandbox: a sandbox that was started.
        env: environment variables of the kernel.
        payloads: whether a pager's text and the next input are sent in the reply, as in Jupyter,
            and not shown in the output.

    Raises `SandboxError`, and `OSError` for a full disk.
    """
    folder, key = temporary.folder(), secrets.token_hex(16)
    sockets = list(range(3, 3 + len(CHANNELS)))
    arguments = {"key": key, "sockets": sockets, "payloads": payloads}
    try:
        with listening(folder) as descriptors:
            process = await sandbox.spawn(
                boot_command(sandbox, "plain", arguments),
                env={**KERNEL_ENVIRONMENT, **(env or {})},
                descriptors=descriptors,
            )
    except BaseException:
        temporary.remove(folder)
        raise
    return Launched(connection_info=connection_info(folder, key), process=process, folder=folder)


@contextmanager
def listening(folder: Path) -> Iterator[list[int]]:
    """Bind a kernel's sockets in a folder of the host; yields their file descriptors."""
    with ExitStack() as stack:
        listeners = []
        for number, _ in enumerate(CHANNELS, 1):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / f"s-{number}"))
            listener.listen(64)
            listeners.append(listener.fileno())
        yield listeners


def connection_info(folder: Path, key: str) -> dict[str, Any]:
    """Return what a client on the host needs to connect to the sockets in a folder."""
    return {
        "transport": "ipc",
        "ip": os.fspath(folder / "s"),
        "key": key,
        "signature_scheme": "hmac-sha256",
        **{f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)},
    }


KERNEL_ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONHASHSEED": "0",  # sets of texts have the same order in every run
    "TERM": "dumb",
}
