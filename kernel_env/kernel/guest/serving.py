"""Give a copy of a kernel sockets, threads and loops of its own; every object of the agent stays.

This is the one place that rests on ipykernel's private names; `template.SUPPORTED` says
which version they are those of.
"""

import asyncio
import gc
import os
import random
import sys
from typing import Any

import zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream

from .descriptors import descriptors, identities, open_files
from .kernel_app import App, Kernel
from .openmp import pause_omp
from .prefault import Prefault
from .standby import Standby, kept_for_ever

BUSY_S = 5.0
"""How long a request to copy waits for a cell that is still running."""
RENEWED = ("control_thread", "shell_channel_thread", "iopub_thread", "iopub_socket")
SOCKETS = ("shell_socket", "stdin_socket", "control_socket", "debugpy_socket", "debug_shell_socket")


class Woken(SystemExit):
    """Raised in a copy of a live kernel that is to serve: it unwinds the original's event loop."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(0)
        self.request = request


class ForkableApp(App):
    """A kernel application that can start serving again and again, in copy after copy."""

    standby: Standby
    prefault: Prefault

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(kernel_class=Kernel, **kwargs)  # type: ignore[no-untyped-call]
        self.adopted = {}

    def _try_bind_socket(self, s: Any, port: int) -> int:
        if self.adopted:
            return super()._try_bind_socket(s, port)
        s.bind(f"inproc://template-{id(s)}")  # a template is connected to nobody
        return 0

    def init_heartbeat(self) -> None:
        """None: whether the kernel lives, the host sees by its process and its connections."""

    def configure_tornado_logger(self) -> None:
        """Once is enough."""
        if not self.adopted:
            super().configure_tornado_logger()  # type: ignore[no-untyped-call]

    def keepers(self) -> set[int]:
        """Descriptors that a copy goes on using: the real standard output and error."""
        return {stream._original_stdstream_copy for stream in self.streams()}

    def streams(self) -> list[Any]:
        """What the kernel prints by."""
        return [self.kernel._stdout, self.kernel._stderr]

    def serve(self, request: dict[str, Any]) -> None:
        """Be a live kernel, from request to request; returns never."""
        try:
            while True:
                self.connect(request)
                try:
                    self.start()  # type: ignore[no-untyped-call]
                    break
                except Woken as woken:
                    request = woken.request
        except BaseException as error:  # noqa: BLE001 - the last thing this process does
            self.die(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def die(self, error: BaseException) -> None:
        """Say why on the real standard error, and end: nothing of the original may run here."""
        words = f"{type(error).__name__}: {error}\n"
        os.write(self.kernel._stderr._original_stdstream_copy, words.encode(errors="replace"))
        os._exit(70)

    def connect(self, request: dict[str, Any]) -> None:
        """Adopt the host's sockets; make threads, streams and an event loop around them."""
        self.standby.wake(request)
        before = descriptors() - set(request["fds"]) - {self.standby.line.socket.fileno()}
        self._bury()
        begin_loop()
        self.session.session = os.urandom(16).hex()
        self.session.pid = os.getpid()
        self.session.digest_history = set()
        self.adopt(request["key"], request["fds"])
        self.context = self.iopub_thread = None
        self.prefault = Prefault()
        drawn = random.getstate()
        self.init_sockets()  # type: ignore[no-untyped-call]
        kernel: Any = self.kernel
        kernel.caps.reconnect(self.iopub_thread)
        for name in (*RENEWED, "stdin_socket", "debug_shell_socket"):
            setattr(kernel, name, getattr(self, name))
        kernel.shell_stream = ZMQStream(self.shell_socket, self.shell_channel_thread.io_loop)
        self.shell_channel_thread.shell_stream = kernel.shell_stream
        kernel.control_stream = ZMQStream(self.control_socket, self.control_thread.io_loop)
        kernel.debugpy_stream = None
        for hook in (kernel.shell.displayhook, kernel.shell.display_pub, self.displayhook):
            hook.pub_socket = self.iopub_socket
        kernel._main_asyncio_lock = asyncio.Lock()
        kernel._aborting = False
        self.control_thread.start()
        self.shell_channel_thread.start()
        self._reach_iopub()
        threads: list[Any] = [self.control_thread, self.shell_channel_thread, self.iopub_thread]
        for thread in threads:
            thread.io_loop.add_callback(self._reach_iopub)
        forget_pools()
        loop = asyncio.get_event_loop()
        loop.call_soon(self._ready, request, before, drawn)

    def _reach_iopub(self) -> None:
        """Connect this thread to the one that sends: later there may be no descriptor free."""
        thread: Any = self.iopub_thread
        thread._event_pipe  # noqa: B018 - it is made when it is first asked for

    def _bury(self) -> None:
        """Keep everything of the original's loops and sockets; see `kept_for_ever`."""
        kernel: Any = self.kernel
        policy: Any = asyncio.get_event_loop_policy()
        kept_for_ever.append(
            (
                self.context,
                [getattr(self, name) for name in (*RENEWED, *SOCKETS)],
                [kernel.shell_stream, kernel.control_stream, kernel.debugpy_stream],
                getattr(kernel, "io_loop", None),
                getattr(self, "io_loop", None),
                dict(vars(policy._local)) if hasattr(policy, "_local") else None,
                IOLoop.current(instance=False),
            )
        )

    def _ready(self, request: dict[str, Any], before: set[int], drawn: Any) -> None:
        """The loop runs: from now on the host may send cells, and ask for copies."""
        random.setstate(drawn)  # sockets draw numbers of ports and names
        if self.standby.collecting:
            self.standby.collecting = False
            gc.enable()
        mine = descriptors() - before - self.keepers() - {0, 1, 2}
        self.standby.plumbing = identities(mine)
        loop = asyncio.get_running_loop()
        line = self.standby.line
        loop.add_reader(line.socket.fileno(), self._hear)
        line.answer(request)

    def _hear(self) -> None:
        """A request of the host to a live kernel: to be copied as soon as no cell runs."""
        try:
            request = self.standby.line.hear()
        except OSError:  # the agent's code closed it
            request = None
        if request is None:  # it has let go: what ends this process is not up to us
            asyncio.get_running_loop().remove_reader(self.standby.line.socket.fileno())
            return
        if not request["fds"]:
            self.standby.line.answer(request, error="the kernel has no descriptor free")
            return
        self._copy_at_rest(request, asyncio.get_running_loop().time() + BUSY_S)

    def _copy_at_rest(self, request: dict[str, Any], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        kernel: Any = self.kernel
        if kernel._main_asyncio_lock.locked():
            if loop.time() < deadline:
                loop.call_later(0.001, self._copy_at_rest, request, deadline)
            else:
                os.close(request["fds"][0])
                self.standby.line.answer(request, error="a cell is still running")
            return
        try:
            for stream in self.streams():
                stream.flush()
            pause_omp()
            self.standby.files = open_files()
            self.prefault.learn()
            copied = self.standby.copy(request["fds"][0], self._lazy_plumbing())
        except Exception as error:  # noqa: BLE001 - whatever it is, the host must not wait
            self.standby.line.answer(request, error=str(error) or repr(error))
            return
        if not copied:
            self.standby.line.answer(request)
            self.prefault.copy_ahead()
            return
        try:
            woken = Woken(self.standby.wait())
        except BaseException as error:  # noqa: BLE001 - a copy never falls back into the loop
            self.die(error)
        raise woken

    def _lazy_plumbing(self) -> list[int]:
        """Descriptors of sockets that were made later, as one is for each thread that prints."""
        context: Any = self.context
        return [s.getsockopt(zmq.FD) for s in list(context._sockets) if not s.closed]


def begin_loop() -> None:
    """A new event loop; where the agent's policy has none, Python's own does."""
    try:
        asyncio.set_event_loop(asyncio.new_event_loop())
    except Exception:  # noqa: BLE001 - it is the agent's code
        asyncio.set_event_loop_policy(None)
        asyncio.set_event_loop(asyncio.new_event_loop())


def forget_pools() -> None:
    """Joblib's reusable pool of processes died with the original: the next use makes a new one."""
    loky: Any = sys.modules.get("joblib.externals.loky.reusable_executor")
    if loky is not None and loky._executor is not None:
        kept_for_ever.append(loky._executor)
        loky._executor = None
