"""Give a fork of a kernel its own sockets, threads and loops; every object of the agent stays.

Only this module relies on many private names of ipykernel; `private_names` lists and checks them.
"""

import asyncio
import contextvars
import gc
import os
import random
import sys
from collections.abc import Iterable
from typing import Any

import zmq
from zmq.eventloop.zmqstream import ZMQStream

from .descriptors import identities, open_descriptors
from .fork_safety import lost_threads, native_threads, unforkable_reason
from .kernel_app import App, Kernel
from .lost_workers import end_tasks, forget_workers, restarted_threads
from .openmp import stop_idle_threads
from .prefault import Prefault
from .standby import Standby, parent_objects

CELL_WAIT_S = 5.0
"""How long a fork request waits for a running cell."""
RENEWED_ATTRIBUTES = ("control_thread", "shell_channel_thread", "iopub_thread", "iopub_socket")
SOCKET_ATTRIBUTES = (
    "shell_socket",
    "stdin_socket",
    "control_socket",
    "debugpy_socket",
    "debug_shell_socket",
)


class ServeRequested(SystemExit):
    """Raised in a fork that is to serve: it unwinds the event loop of the kernel it came from."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(0)
        self.request = request


class ForkableApp(App):
    """A kernel application that starts serving anew in every fork."""

    standby: Standby
    prefault: Prefault
    ended_tasks: Iterable[Any] = ()
    """The tasks of the agent that waited when the running kernel was forked."""
    native_thread_count: int
    """Threads that the template's libraries started when they were imported."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(kernel_class=Kernel, **kwargs)  # type: ignore[no-untyped-call]
        self.adopted = {}

    def _try_bind_socket(self, s: Any, port: int) -> int:
        if self.adopted:
            return super()._try_bind_socket(s, port)
        s.bind(f"inproc://template-{id(s)}")  # nothing connects to a template
        return 0

    def init_heartbeat(self) -> None:
        """Do nothing: the host watches the kernel's process and connections instead."""

    def configure_tornado_logger(self) -> None:
        """Configure the logger only in the template; forks inherit it."""
        if not self.adopted:
            super().configure_tornado_logger()  # type: ignore[no-untyped-call]

    def kept_descriptors(self) -> set[int]:
        """Return the descriptors that a fork keeps: the real standard output and error."""
        return {stream._original_stdstream_copy for stream in self.streams()}

    def streams(self) -> list[Any]:
        """Return the kernel's output streams."""
        return [self.kernel._stdout, self.kernel._stderr]

    def serve(self, request: dict[str, Any]) -> None:
        """Serve as a running kernel, in this process and in its forks. Never returns."""
        try:
            while True:
                kernel: Any = self.kernel
                context = (kernel.cell_context or contextvars.copy_context()).copy()
                try:
                    context.run(self._connect_and_start, request)
                    break
                except ServeRequested as serve_requested:
                    request = serve_requested.request
        except BaseException as error:  # noqa: BLE001 - the last thing this process does
            self.exit_with_error(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _connect_and_start(self, request: dict[str, Any]) -> None:
        """Connect and run the event loop; its callbacks, and so cells, have this context."""
        self.connect(request)
        self.start()  # type: ignore[no-untyped-call]

    def exit_with_error(self, error: BaseException) -> None:
        """Print the error to the real standard error and exit without running the parent's code."""
        text = f"{type(error).__name__}: {error}\n"
        os.write(self.kernel._stderr._original_stdstream_copy, text.encode(errors="replace"))
        os._exit(70)

    def connect(self, request: dict[str, Any]) -> None:
        """Adopt the host's sockets; create threads, streams and an event loop around them."""
        self.standby.prepare_to_serve(request)
        before = open_descriptors() - set(request["fds"]) - {self.standby.channel.socket.fileno()}
        self._keep_parent_objects()
        set_new_event_loop()
        self.session.session = os.urandom(16).hex()
        self.session.pid = os.getpid()
        self.session.digest_history = set()
        self.adopt(request["key"], request["fds"])
        self.context = self.iopub_thread = None
        self.prefault = Prefault()
        random_state = random.getstate()
        self.init_sockets()  # type: ignore[no-untyped-call]
        kernel: Any = self.kernel
        kernel.output_caps.reconnect(self.iopub_thread)
        for name in (*RENEWED_ATTRIBUTES, "stdin_socket", "debug_shell_socket"):
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
        self._connect_to_iopub()
        threads: list[Any] = [self.control_thread, self.shell_channel_thread, self.iopub_thread]
        for thread in threads:
            thread.io_loop.add_callback(self._connect_to_iopub)
        forget_workers(kernel.shell)
        end_tasks(self.ended_tasks)
        loop = asyncio.get_event_loop()
        loop.call_soon(self._ready, request, before, random_state)

    def _connect_to_iopub(self) -> None:
        """Connect this thread to the iopub thread now: later no descriptor may be free."""
        thread: Any = self.iopub_thread
        thread._event_pipe  # noqa: B018 - the property creates it on first access

    def _keep_parent_objects(self) -> None:
        """Keep references to the loops and sockets of the parent; see `parent_objects`."""
        kernel: Any = self.kernel
        parent_objects.append(
            (
                self.context,
                [getattr(self, name) for name in (*RENEWED_ATTRIBUTES, *SOCKET_ATTRIBUTES)],
                [kernel.shell_stream, kernel.control_stream, kernel.debugpy_stream],
                getattr(kernel, "io_loop", None),
                getattr(self, "io_loop", None),
                kernel.signal_sockets,
                current_event_loop(),
            )
        )

    def _ready(self, request: dict[str, Any], before: set[int], random_state: Any) -> None:
        """Tell the host, once the loop runs, that it can send cells and fork requests."""
        random.setstate(random_state)  # creating sockets draws random numbers for ports and names
        if self.standby.enable_gc_later:
            self.standby.enable_gc_later = False
            gc.enable()
        own = open_descriptors() - before - self.kept_descriptors() - {0, 1, 2}
        self.standby.kernel_descriptors = identities(own)
        loop = asyncio.get_running_loop()
        channel = self.standby.channel
        loop.add_reader(channel.socket.fileno(), self._handle_request)
        channel.reply(request)

    def _handle_request(self) -> None:
        """Handle a fork request of the host: fork as soon as no cell runs."""
        try:
            request = self.standby.channel.receive()
        except OSError:  # the agent's code closed it
            request = None
        if request is None:  # the host closed its end; the sandbox ends this process
            asyncio.get_running_loop().remove_reader(self.standby.channel.socket.fileno())
            return
        if not request["fds"]:
            self.standby.channel.reply(request, error="no free file descriptor in the kernel")
            return
        self._fork_between_cells(request, asyncio.get_running_loop().time() + CELL_WAIT_S)

    def _fork_between_cells(self, request: dict[str, Any], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        kernel: Any = self.kernel
        if kernel._main_asyncio_lock.locked():
            if loop.time() < deadline:
                loop.call_later(0.001, self._fork_between_cells, request, deadline)
            else:
                os.close(request["fds"][0])
                self.standby.channel.reply(request, error="a cell is still running")
            return
        descriptor = request["fds"].pop()
        try:
            for stream in self.streams():
                stream.flush()
            if reason := unforkable_reason():
                os.close(descriptor)
                self.standby.channel.reply(request, error=reason)
                return
            stop_idle_threads()
            self.standby.remember(self.kept_descriptors())
            threads, tasks = lost_threads(self._own_threads()), self._tasks()
            has_native_threads = len(list(native_threads())) > self.native_thread_count
            self.prefault.learn()
            forked = self.standby.fork(descriptor, self._late_descriptors())
        except Exception as error:  # noqa: BLE001 - whatever it is, the host must not wait
            self.standby.channel.reply(request, error=str(error) or repr(error))
            return
        if not forked:
            self.standby.channel.reply(request, threads=threads, native_threads=has_native_threads)
            self.prefault.populate()
            return
        parent_objects.append(tasks)
        self.ended_tasks = tasks[-1]
        try:
            serve_requested = ServeRequested(self.standby.wait())
        except BaseException as error:  # noqa: BLE001 - never return to the parent's loop
            self.exit_with_error(error)
        raise serve_requested

    def _own_threads(self) -> set[Any]:
        """Return the threads that each kernel has, and those that it starts again."""
        pub_thread: Any = self.iopub_thread
        threads = [self.control_thread, self.shell_channel_thread, pub_thread.thread]
        threads += [getattr(stream, "watch_fd_thread", None) for stream in self.streams()]
        kernel: Any = self.kernel
        return {*threads, *restarted_threads(kernel.shell)}

    def _tasks(self) -> list[Any]:
        """Return the tasks of the kernel's event loops; a fork must not collect them."""
        threads: list[Any] = [self.control_thread, self.shell_channel_thread, self.iopub_thread]
        loops = [thread.io_loop.asyncio_loop for thread in threads]
        return [asyncio.all_tasks(loop) for loop in (*loops, asyncio.get_running_loop())]

    def _late_descriptors(self) -> list[int]:
        """Return the descriptors of sockets created later; each thread that prints has one."""
        context: Any = self.context
        return [s.getsockopt(zmq.FD) for s in list(context._sockets) if not s.closed]


def current_event_loop() -> Any:
    """Return the event loop that is set in this thread; None if there is none."""
    try:
        return asyncio.get_event_loop()
    except Exception:  # noqa: BLE001 - the agent's policy, or its treatment of warnings
        return None


def set_new_event_loop() -> None:
    """Set a new event loop; if the agent's policy cannot create one, use Python's own policy."""
    try:
        asyncio.set_event_loop(asyncio.new_event_loop())
    except Exception:  # noqa: BLE001 - raised by the agent's code
        asyncio.set_event_loop_policy(None)
        asyncio.set_event_loop(asyncio.SelectorEventLoop())
