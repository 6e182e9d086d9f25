"""Define the kernel and its application, used by plain and by forkable kernels.

Compared with a plain IPython kernel it caps the output of a cell (`output_caps`) and adds to each
reply which variables and files the cell changed (`namespace_diff`) and how many bytes were left
out.
"""

import asyncio
import contextvars
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

import zmq
from ipykernel import kernelapp
from ipykernel.heartbeat import Heartbeat
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from . import magics, output_caps
from .fork import LIBC
from .namespace_diff import NamespaceDiff
from .output_caps import OutputCaps

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Kernel(IPythonKernel):
    """An IPython kernel that reports what each cell changed and what its output caps left out."""

    namespace_diff: NamespaceDiff | None = None
    output_caps: OutputCaps
    cell_context: contextvars.Context | None = None
    """Context variables as the last cell left them: numpy's print options, the decimal context."""
    signal_sockets: tuple[socket.socket, socket.socket] | None = None
    banner = ""  # IPython's own ends with a random tip, which uses the agent's random state

    def start(self) -> None:
        """Start serving. Each signal wakes the event loop, so that its handler's callback runs.

        Otherwise a cell that awaits something would not notice an interrupt.
        """
        super().start()  # type: ignore[no-untyped-call]
        reading, writing = self.signal_sockets = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        asyncio.get_event_loop().add_reader(reading, reading.recv, 4096)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    async def do_execute(self, code: str, silent: bool, *args: Any, **kwargs: Any) -> Any:
        """Run a cell with capped output; add its changes and the left-out bytes to the reply."""
        if self.namespace_diff is None:
            shell: Any = self.shell
            self.namespace_diff = NamespaceDiff(shell.user_ns, shell.user_ns_hidden, os.getcwd())
        self.output_caps.begin_cell()
        pid = os.getpid()
        try:
            reply: Any = await super().do_execute(code, silent, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self.cell_context = contextvars.copy_context()
            if os.getpid() != pid:  # a child that the cell forked
                exit_child()
            LIBC.fflush(None)
            dropped = self.output_caps.end_cell()
        if not silent:
            reply["kernel_env"] = {**self.namespace_diff.report(), "dropped": dropped}
        return reply


def exit_child() -> None:
    """Exit a child that a cell forked once it reaches the end of the cell, as a script would.

    The event loop and the sockets belong to its parent.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def packing_any_text(pack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a function that serializes messages, also those with half a surrogate pair.

    UTF-8 cannot encode it; as an escape of JSON it can be sent.
    """

    def pack_escaped(message: Any) -> bytes:
        try:
            return pack(message)
        except UnicodeEncodeError:
            return json.dumps(message, default=str).encode()

    return pack_escaped


def line_buffer_c_output() -> None:
    """Let text that C code prints appear line by line, and not when the kernel exits."""
    line_buffered = 1
    try:
        stdout = ctypes.c_void_p.in_dll(LIBC, "stdout")
    except ValueError:
        return  # another C library
    LIBC.setvbuf(stdout, None, line_buffered, ctypes.c_size_t(4096))


class App(IPKernelApp):
    """A kernel application whose port numbers stand for inherited, listening sockets.

    The host binds the sockets and ZMQ adopts them, so no program in the sandbox binds, owns or can
    delete them.
    """

    adopted: dict[int, int]
    """File descriptor by port number."""

    def boot(self, *, payloads: bool = False) -> None:
        """Initialise everything except the event loop, then install the output caps.

        With `payloads` its replies have those of IPython; see `magics`.
        """
        self.outstream_class = f"{output_caps.__name__}.CappedStream"
        # A history in a file needs a thread, which a fork does not have.
        self.initialize(["--HistoryManager.hist_file=:memory:"])  # type: ignore[no-untyped-call]
        self.session.pack = packing_any_text(self.session.pack)
        self.kernel.output_caps = output_caps.install(self)
        magics.install(self.shell, payloads=payloads)
        line_buffer_c_output()

    def adopt(self, key: str, descriptors: list[int]) -> None:
        """Set the sockets and the key with which the kernel will serve."""
        ports: Any = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
        self.adopted = dict(enumerate(descriptors, 1))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        info = {"transport": "ipc", "ip": "kernel", "key": key, **ports}
        info["signature_scheme"] = "hmac-sha256"
        self.load_connection_info(cast("Any", info))

    def init_connection_file(self) -> None:
        """Do nothing: there is no connection file."""

    def write_connection_file(self, **_: Any) -> None:
        """Do nothing: no program reads the file, and the disk can be full."""

    def cleanup_connection_file(self) -> None:
        """Do nothing: there is no connection file."""

    def _try_bind_socket(self, s: Any, port: int) -> int:
        s.setsockopt(zmq.USE_FD, self.adopted[port])
        s.bind(f"ipc://{self.ip}-{port}")
        return port


class AdoptedHeartbeat(Heartbeat):
    """A heartbeat on an inherited, listening socket."""

    def _try_bind_socket(self) -> None:
        self.socket.setsockopt(zmq.USE_FD, App.instance().adopted[self.port])
        self.socket.bind(f"ipc://{self.ip}-{self.port}")


kernelapp.Heartbeat = AdoptedHeartbeat  # type: ignore[attr-defined]
