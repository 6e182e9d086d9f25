"""Be a kernel on sockets that the host bound: `python -m inside.serve '{"key": …, "sockets": …}'`.

The five listening sockets arrive as open descriptors; ZMQ adopts them, so nothing
in the box binds, owns or can delete them. Beyond a plain ipykernel this kernel
tells in each reply which variables and files the cell changed.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import zmq
from ipykernel import kernelapp
from ipykernel.heartbeat import Heartbeat
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from .changes import Changes

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Kernel(IPythonKernel):
    """An IPython kernel that says what each cell changed."""

    changes: Changes | None = None

    async def do_execute(self, code: str, silent: bool, *args: Any, **kwargs: Any) -> Any:
        """Run the cell, then add what changed to the reply."""
        if self.changes is None:
            shell: Any = self.shell
            self.changes = Changes(shell.user_ns, shell.user_ns_hidden, str(Path.cwd()))
        reply: Any = await super().do_execute(code, silent, *args, **kwargs)  # type: ignore[no-untyped-call]
        if not silent:
            reply["kernel_env"] = self.changes.tell()
        return reply


def adopting(sockets: dict[int, int]) -> type[IPKernelApp]:
    """An application whose ports are numbers of descriptors that already listen."""

    class App(IPKernelApp):
        given: dict[str, Any]

        def init_connection_file(self) -> None:
            self.load_connection_info(self.given)  # type: ignore[arg-type]

        def write_connection_file(self, **_: Any) -> None:
            """Nobody reads it, and the disk may be full."""

        def cleanup_connection_file(self) -> None:
            """There is none."""

        def _try_bind_socket(self, s: Any, port: int) -> int:
            s.setsockopt(zmq.USE_FD, sockets[port])
            s.bind(f"ipc://{self.ip}-{port}")
            return port

    class Beat(Heartbeat):
        def _try_bind_socket(self) -> None:
            self.socket.setsockopt(zmq.USE_FD, sockets[self.port])
            self.socket.bind(f"ipc://{self.ip}-{self.port}")

    kernelapp.Heartbeat = Beat  # type: ignore[attr-defined]
    return App


def main() -> None:
    """Serve until the host lets go of the box."""
    given = json.loads(sys.argv[1])
    os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [path for path in sys.path if path != given["path"]]
    ports = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
    connection = {
        "transport": "ipc",
        "ip": "kernel",
        "key": given["key"],
        "signature_scheme": "hmac-sha256",
        **ports,
    }
    for descriptor in given["sockets"]:
        os.set_inheritable(descriptor, False)
    app: Any = adopting(dict(enumerate(given["sockets"], 1))).instance(kernel_class=Kernel)
    app.given = connection
    app.initialize(["--HistoryManager.enabled=False"])
    app.start()


if __name__ == "__main__":
    main()
