"""The kernel itself, however it comes to serve, and the application around it.

Beyond a plain IPython kernel it caps what a cell can make it say (`caps`), and tells in
each reply how much that left out and which variables and files the cell changed.
"""

import os
import sys
from typing import Any, cast

import zmq
from ipykernel import kernelapp
from ipykernel.heartbeat import Heartbeat
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from . import output_caps
from .namespace_diff import Changes
from .output_caps import Caps

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Kernel(IPythonKernel):
    """An IPython kernel that says what each cell changed, and what was too much to say."""

    changes: Changes | None = None
    caps: Caps
    banner = ""  # IPython's own ends with a tip, drawn by the random numbers of the agent

    async def do_execute(self, code: str, silent: bool, *args: Any, **kwargs: Any) -> Any:
        """Run the cell within its caps; add what it changed and what was left out to the reply."""
        if self.changes is None:
            shell: Any = self.shell
            self.changes = Changes(shell.user_ns, shell.user_ns_hidden, os.getcwd())
        self.caps.begin()
        mine = os.getpid()
        try:
            reply: Any = await super().do_execute(code, silent, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            if os.getpid() != mine:  # a child that the cell forked and let run to the cell's end
                leave()
            dropped = self.caps.finish()
        if not silent:
            reply["kernel_env"] = {**self.changes.tell(), "dropped": dropped}
        return reply


def leave() -> None:
    """End a forked child here, as at the end of a script: our loop and sockets are its parent's."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


class App(IPKernelApp):
    """An application whose ports are numbers of descriptors that already listen.

    The host bound them; ZMQ adopts them, so nothing in the box binds, owns or can delete them.
    """

    adopted: dict[int, int]
    """Port → descriptor."""

    def begin(self) -> None:
        """Everything but serving."""
        self.outstream_class = f"{output_caps.__name__}.Stream"
        self.initialize(["--HistoryManager.enabled=False"])  # type: ignore[no-untyped-call]
        self.kernel.caps = output_caps.install(self)

    def adopt(self, key: str, descriptors: list[int]) -> None:
        """Take the sockets that will be served next."""
        ports: Any = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
        self.adopted = dict(enumerate(descriptors, 1))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        given = {"transport": "ipc", "ip": "kernel", "key": key, **ports}
        given["signature_scheme"] = "hmac-sha256"
        self.load_connection_info(cast("Any", given))

    def init_connection_file(self) -> None:
        """There is none."""

    def write_connection_file(self, **_: Any) -> None:
        """Nobody reads it, and the disk may be full."""

    def cleanup_connection_file(self) -> None:
        """There is none."""

    def _try_bind_socket(self, s: Any, port: int) -> int:
        s.setsockopt(zmq.USE_FD, self.adopted[port])
        s.bind(f"ipc://{self.ip}-{port}")
        return port


class Beat(Heartbeat):
    """A heartbeat on a descriptor that already listens."""

    def _try_bind_socket(self) -> None:
        self.socket.setsockopt(zmq.USE_FD, App.instance().adopted[self.port])
        self.socket.bind(f"ipc://{self.ip}-{self.port}")


kernelapp.Heartbeat = Beat  # type: ignore[attr-defined]
