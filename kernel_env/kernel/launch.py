"""How a kernel comes to be: the host binds its sockets and hands them to a program in a box.

What comes out is a `Launched`: where to connect, and a process that may end. How
the kernel is then talked to (`session`) does not depend on how it was started.
"""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_env import temporary
from kernel_env.kernel.inside import __path__ as inside_path
from kernel_env.sandbox.base import Process, Sandbox

PROGRAM = PurePosixPath("/opt/kernel_env/inside")
"""Where a box must show the kernel's program; see `PROGRAM_FOLDER`."""
PROGRAM_FOLDER = Path(inside_path[0])
"""The folder of the host to show there."""

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A kernel that was started. It may not be ready yet, and it may end at any time."""

    connection_info: Mapping[str, Any]
    """What `jupyter_client` needs to connect to it from the host."""
    process: Process
    folder: Path
    """On the host, with the sockets' names; the caller removes it with `forget`."""

    def forget(self) -> None:
        """Remove the sockets' names. Connections that exist go on."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def launch(sandbox: Sandbox, *, env: Mapping[str, str] | None = None) -> Launched:
    """Start a kernel in a box. Raises `SandboxError`, and `OSError` for a full disk."""
    folder = temporary.folder()
    listeners: list[socket.socket] = []
    try:
        key = secrets.token_hex(16)
        for number, _ in enumerate(CHANNELS, 1):
            listener = socket.socket(socket.AF_UNIX)
            listeners.append(listener)
            listener.bind(str(folder / f"s-{number}"))
            listener.listen(64)
        program = sandbox.where(PROGRAM)
        given = {
            "key": key,
            "sockets": list(range(3, 3 + len(CHANNELS))),
            "path": str(program.parent),
        }
        process = await sandbox.spawn(
            [sandbox.python, "-P", "-m", f"{program.name}.serve", json.dumps(given)],
            env={"PYTHONPATH": str(program.parent), **KERNEL_ENVIRONMENT, **(env or {})},
            descriptors=[listener.fileno() for listener in listeners],
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for listener in listeners:
            listener.close()
    info = {
        "transport": "ipc",
        "ip": os.fspath(folder / "s"),
        "key": key,
        "signature_scheme": "hmac-sha256",
        **{f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)},
    }
    return Launched(connection_info=info, process=process, folder=folder)


KERNEL_ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TERM": "dumb",
}
