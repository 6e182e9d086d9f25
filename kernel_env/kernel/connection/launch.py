"""How a kernel comes to be: the host binds its sockets and hands them to a program in a box.

What comes out is a `Launched`: where to connect, and a process that may end. How
the kernel is then talked to (`session`) does not depend on how it was started.
"""

import json
import os
import secrets
import shutil
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
"""Where a box must show the kernel's program; see `PROGRAM_FOLDER`."""
PROGRAM_FOLDER = Path(guest_path[0])
"""The folder of the host to show there."""

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A kernel that was started. It may not be ready yet, and it may end at any time."""

    connection_info: Mapping[str, Any]
    """What `jupyter_client` needs to connect to it from the host."""
    process: Process
    line: ControlChannel | None = None
    """By which the kernel can be copied; None for a plain one."""
    folder: Path
    """On the host, with the sockets' names; the caller removes it with `forget`."""

    def forget(self) -> None:
        """Remove the sockets' names and close the line. Connections that exist go on."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.line is not None:
            self.line.close()


async def launch(sandbox: Sandbox, *, env: Mapping[str, str] | None = None) -> Launched:
    """Start a plain kernel in a box. Raises `SandboxError`, and `OSError` for a full disk."""
    folder = temporary.folder()
    key = secrets.token_hex(16)
    program = sandbox.where(PROGRAM)
    given = {
        "key": key,
        "sockets": list(range(3, 3 + len(CHANNELS))),
        "path": str(program.parent),
    }
    try:
        with listening(folder) as descriptors:
            process = await sandbox.spawn(
                [sandbox.python, "-P", "-m", f"{program.name}.plain", json.dumps(given)],
                env={"PYTHONPATH": str(program.parent), **KERNEL_ENVIRONMENT, **(env or {})},
                descriptors=descriptors,
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Launched(connection_info=connection_info(folder, key), process=process, folder=folder)


@contextmanager
def listening(folder: Path) -> Iterator[list[int]]:
    """A kernel's sockets, bound by us in a folder of ours, as descriptors to give away."""
    with ExitStack() as stack:
        listeners = []
        for number, _ in enumerate(CHANNELS, 1):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / f"s-{number}"))
            listener.listen(64)
            listeners.append(listener.fileno())
        yield listeners


def connection_info(folder: Path, key: str) -> dict[str, Any]:
    """What a client on the host needs to connect to the sockets in a folder."""
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
    "TERM": "dumb",
}
