"""Talk to a kernel: send code, receive a finished cell, whatever the code does.

A `KernelClient` reads all messages of its kernel at all times, so that none pile up, and keeps
only what the output collectors allow. A cell ends in one of four ways: it finishes; its time is
up and an interrupt ends it; its time is up and nothing ends it; or the kernel dies. After the
last two the state is lost and the kernel must be replaced.
"""

import asyncio
import signal
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from pydantic import TypeAdapter, ValidationError
from zmq.utils.monitor import recv_monitor_message

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell, FileChange, Variable
from kernel_env.kernel.connection.control_channel import ControlChannel
from kernel_env.kernel.connection.launch import Launched, launch
from kernel_env.kernel.connection.outputs import OutputCollector, count_of, json_of, text_of
from kernel_env.sandbox.protocol import Process, Sandbox

READY_S, FORK_READY_S = 60.0, 15.0
"""Time limits for a kernel to be ready: one that boots, and one that was forked."""
SUBSCRIBE_AGAIN_S = 0.5
INTERRUPT_S = 5.0
"""Time limit for an interrupted cell to end, before its kernel is replaced."""
MESSAGE_BYTES = 16 * 1024 * 1024
"""A kernel that announces a longer part of a message is disconnected before it is received; a
message that is longer in total is dropped unread: as Python objects it could be many times as
large."""
QUEUED_MESSAGES = 32
"""Messages per channel that ZMQ holds until they are read; further ones wait in the sandbox.

Both limits are for a kernel that has disabled its caps (`guest.output_caps`). Not protected: ZMQ
collects all parts of a message first, so one of very many parts costs the host that much memory.
"""
MAX_CHANGES = 100
"""Maximum number of changed variables, and of files, taken from one reply."""
NAME_CHARACTERS = 200
"""Maximum length of the name of a variable or file."""
EXIT_S = 2.0
"""Time limit for a kernel to exit when a cell asked it to; its event loop stops after 0.1 s."""
DRAIN_S = 0.1
"""Time to wait for the last messages of a kernel that just died."""

T = TypeVar("T")


@dataclass
class RunningCell:
    """The cell that is running: its outputs until now, and whether it is done."""

    message_id: str
    outputs: OutputCollector = field(default_factory=OutputCollector)
    reply: dict[str, Any] | None = None
    idle: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def check_done(self) -> None:
        """Set `done` once the reply and all outputs have arrived."""
        if self.reply is not None and self.idle:
            self.done.set()


class KernelClient:
    """A connection to a kernel that is ready. One cell runs at a time."""

    def __init__(
        self, client: AsyncKernelClient, process: Process, channel: ControlChannel | None
    ) -> None:
        self.process = process
        self.channel = channel
        """The control channel by which it is forked; None for a plain kernel."""
        self.death_reason: str | None = None
        """Why the kernel cannot be used any more; None while it can."""
        self.invalid_messages = 0
        """Number of messages that were dropped because they were not valid Jupyter messages."""
        self._client = client
        self._running: RunningCell | None = None
        self._late = OutputCollector()
        self._death = asyncio.Event()
        self._closed = asyncio.Event()
        """Set when the kernel's end of the iopub channel is closed."""
        self._replies: dict[str, asyncio.Future[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, code: str, *, timeout_s: float, silent: bool = False) -> Cell:
        """Run one cell until it ends or its time is up.

        With `silent` it is not counted, not in the kernel's history, and reports no changes.
        If the kernel dies, `Cell.broke` says why. If the caller cancels, the kernel must be
        replaced, because what the cell has done is unknown.

        Raises `KernelError` if the kernel was already dead.
        """
        if self.death_reason is not None:
            raise KernelError(f"the kernel cannot run a cell: {self.death_reason}")
        late, self._late = self._late, OutputCollector()
        started = time.perf_counter()
        content = {
            "code": text_of(code),
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = self._client.session.msg("execute_request", content)
        cell = self._running = RunningCell(message["header"]["msg_id"])
        try:
            self._send(self._client.shell_channel, message)
            timed_out = not await self._done(cell, timeout_s)
            if timed_out and self.death_reason is None:
                await self.interrupt()
                if not await self._done(cell, INTERRUPT_S):
                    self.death_reason = self.death_reason or (
                        f"the cell did not end in {timeout_s:g} s and ignored the interrupt"
                    )
            if self.death_reason is None and asks_to_exit(cell.reply):
                await self._exited()
        except asyncio.CancelledError:
            self.death_reason = (
                self.death_reason or "a cell was cancelled while it ran and was not recorded"
            )
            raise
        finally:
            self._running = None
        return cell_of(
            cell,
            late.outputs() + self._take_late_outputs(),
            seconds=time.perf_counter() - started,
            timed_out=timed_out,
            broke=self.death_reason,
        )

    async def _exited(self) -> None:
        """Wait for its end, so that it dies in this cell and not in a later one."""
        try:
            await asyncio.wait_for(self._death.wait(), EXIT_S)
        except TimeoutError:
            self._died("the cell told the kernel to exit")

    async def interrupt(self) -> None:
        """Send the running cell a KeyboardInterrupt."""
        self._send(self._client.control_channel, self._client.session.msg("interrupt_request", {}))

    def _send(self, channel: Any, message: Any) -> None:
        """Send without blocking: a kernel that broke its connection would block for ever."""
        try:
            channel.send(message)
        except zmq.Again:
            self._died("the kernel broke its connections")

    def _take_late_outputs(self) -> tuple[dict[str, Any], ...]:
        late, self._late = self._late, OutputCollector()
        return late.outputs()

    async def _done(self, cell: RunningCell, timeout_s: float) -> bool:
        """Wait until the cell is done or the kernel dead. Returns False if neither in time."""
        end = asyncio.ensure_future(cell.done.wait())
        death = asyncio.ensure_future(self._death.wait())
        try:
            finished, _ = await asyncio.wait(
                {end, death}, timeout=timeout_s, return_when=FIRST_COMPLETED
            )
            if death in finished and end not in finished:
                await self._drain(end)
            return bool(finished)
        finally:
            end.cancel()
            death.cancel()

    async def _drain(self, end: asyncio.Future[Any]) -> None:
        """Receive the last messages of a dead kernel: all are here once its connection closed."""
        closed = asyncio.ensure_future(self._closed.wait())
        await asyncio.wait({end, closed}, timeout=DRAIN_S, return_when=FIRST_COMPLETED)
        closed.cancel()
        deadline = time.perf_counter() + DRAIN_S
        while await self._client.iopub_channel.socket.poll(0):  # `_receive` reads it
            if time.perf_counter() > deadline:
                return

    # ── messages of the kernel ────────────────────────────────────────────────────────────

    async def _receive(self, channel: Any, take: Any) -> None:
        while True:
            parts = await channel.socket.recv_multipart()
            if sum(map(len, parts)) > MESSAGE_BYTES:
                self.invalid_messages += 1
                continue
            try:
                _, rest = self._client.session.feed_identities(parts)
                message = self._client.session.deserialize(rest)
                if not isinstance(message["content"], dict):
                    raise TypeError("the content of a message is an object")
                take(
                    message["msg_type"], message["parent_header"].get("msg_id"), message["content"]
                )
            except Exception:  # noqa: BLE001 - untrusted input, invalid in any way; counted
                self.invalid_messages += 1

    def _iopub(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        cell = self._running
        if cell is None or parent != cell.message_id or cell.done.is_set():
            if kind == "iopub_welcome":
                self._replied(kind)
            self._late.add(kind, content)
        elif kind == "status":
            cell.idle = cell.idle or content["execution_state"] == "idle"
            cell.check_done()
        else:
            cell.outputs.add(kind, content)

    def _shell(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        if kind == "kernel_info_reply":
            self._replied(kind)
        elif kind == "execute_reply" and self._running and parent == self._running.message_id:
            self._running.reply = content
            self._running.check_done()

    def _control(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        """Ignore replies to interrupts: the end of the cell says the same."""

    def _replied(self, kind: str) -> None:
        answer = self._replies.get(kind)
        if answer is not None and not answer.done():
            answer.set_result(None)

    # ── start and end ─────────────────────────────────────────────────────────────────────

    async def _watch_connection(self, channel: Any) -> None:
        """Notice the kernel's death by the end of a connection, which closes however it dies."""
        with channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            try:
                await recv_monitor_message(monitor)
            finally:
                channel.socket.disable_monitor()
        if channel is self._client.iopub_channel:
            self._closed.set()
        try:  # the exit code says more, and arrives at once or not at all
            code = await asyncio.wait_for(self.process.wait(), DRAIN_S)
            self._died(cause_of_death(code))
        except TimeoutError:
            self._died("the kernel closed its connections")
        except SandboxError as error:
            self._died(f"the kernel ended with its sandbox: {error}")

    async def _watch_process(self) -> None:
        """Notice the kernel's exit: a child of it can hold its connections open."""
        try:
            self._died(cause_of_death(await self.process.wait()))
        except SandboxError as error:
            self._died(f"the kernel ended with its sandbox: {error}")

    def _died(self, cause: str) -> None:
        self.death_reason = self.death_reason or cause
        self._death.set()

    async def start(self) -> None:
        """Connect, and wait until the kernel answers. Raises `KernelError`."""
        client = self._client
        client.start_channels(stdin=False, hb=False)
        for channel in (client.shell_channel, client.control_channel):
            channel.socket.setsockopt(zmq.SNDTIMEO, 0)
        loop = asyncio.get_running_loop()
        self._replies = {
            kind: loop.create_future() for kind in ("iopub_welcome", "kernel_info_reply")
        }
        channels = (client.shell_channel, client.control_channel, client.iopub_channel)
        watches = (
            self._receive(client.iopub_channel, self._iopub),
            self._receive(client.shell_channel, self._shell),
            self._receive(client.control_channel, self._control),
            *map(self._watch_connection, channels),
            self._watch_process(),
        )
        self._tasks = [asyncio.create_task(watch) for watch in watches]
        client.shell_channel.send(client.session.msg("kernel_info_request", {}))
        limit_s = READY_S if self.channel is None else FORK_READY_S
        ready = asyncio.ensure_future(asyncio.wait(self._replies.values()))
        death = asyncio.ensure_future(self._death.wait())
        try:
            await self._ready([ready, death], limit_s)
            if not ready.done():
                cause = self.death_reason or f"it was not ready in {limit_s:g} s"
                said = self.process.tail().strip().rpartition("\n")[2]
                raise KernelError(
                    f"the kernel did not start: {cause}" + (f" ({said})" if said else "")
                )
        finally:
            ready.cancel()
            death.cancel()
        self._late = OutputCollector()

    async def _ready(self, signs: list[asyncio.Future[Any]], limit_s: float) -> None:
        """Wait for any of these signs, within the time limit for a kernel to start.

        About once in 3,000 starts ipykernel misses the subscription: its thread sends on the
        socket at the same time, which consumes the wake-up. So subscribe again.
        """
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            done, _ = await asyncio.wait(
                signs, timeout=SUBSCRIBE_AGAIN_S, return_when=FIRST_COMPLETED
            )
            if done:
                return
            self._client.iopub_channel.socket.subscribe(b"")

    async def stop(self) -> None:
        """Close the connections. Whoever launched the kernel ends it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client.channels_running:
            self._client.stop_channels()
        self._client.context.destroy(linger=0)


@asynccontextmanager
async def open_kernel(
    sandbox: Sandbox, *, env: Mapping[str, str] | None = None
) -> AsyncIterator[KernelClient]:
    """Launch a plain kernel in a sandbox and end it on leaving. Raises `KernelError`."""
    launched = await launch(sandbox, env=env)
    try:
        async with connected(launched) as kernel:
            yield kernel
    finally:
        with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
            await launched.process.signal(signal.SIGKILL)


@asynccontextmanager
async def connected(launched: Launched) -> AsyncIterator[KernelClient]:
    """Connect to a launched kernel and wait until it is ready. Leaving does not end the kernel."""
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.RCVHWM, QUEUED_MESSAGES)
    context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
    client = AsyncKernelClient(context=context)
    client.load_connection_info(cast("KernelConnectionInfo", launched.connection_info))
    kernel = KernelClient(client, launched.process, launched.channel)
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.stop()
        launched.release()


def asks_to_exit(reply: dict[str, Any] | None) -> bool:
    """Return whether a cell told its kernel to exit, as `quit()` does."""
    payload = (reply or {}).get("payload")
    return isinstance(payload, list) and any(
        isinstance(part, dict) and part.get("source") == "ask_exit" and not part.get("keepkernel")
        for part in payload
    )


def cause_of_death(code: int) -> str:
    """Describe an exit code."""
    if code >= 0:
        return f"the kernel exited with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    return f"the kernel was ended by {name}"


def cell_of(
    cell: RunningCell,
    late: tuple[dict[str, Any], ...],
    *,
    seconds: float,
    timed_out: bool,
    broke: str | None,
) -> Cell:
    """Return the result of a cell that has ended."""
    reply = cell.reply or {}
    report = reply.get("kernel_env")
    report = report if isinstance(report, dict) else {}
    dropped = report.get("dropped")
    dropped = dropped if isinstance(dropped, dict) else {}
    return Cell(
        outputs=cell.outputs.outputs(),
        execution_count=count_of(reply.get("execution_count")),
        seconds=round(seconds, 6),
        timed_out=timed_out,
        broke=broke,
        dropped_bytes=cell.outputs.left_out_bytes
        + sum(bounded(count_of(dropped.get(name)) or 0) for name in DROPPED),
        late=late,
        variables=parsed(VARIABLES, report.get("variables")),
        files=parsed(FILES, report.get("files")),
        full_folders=names_in(report.get("full")),
    )


DROPPED = ("stdout", "stderr", "display")
"""The counters of what the kernel left out itself."""
VARIABLES = TypeAdapter(tuple[Variable, ...])
FILES = TypeAdapter(tuple[FileChange, ...])


def parsed(adapter: TypeAdapter[tuple[T, ...]], report: Any) -> tuple[T, ...]:
    """Validate what the kernel reported; returns () if it is not as expected."""
    try:
        return adapter.validate_python(
            [
                {name: bounded(value) for name, value in json_of(entry).items()}
                for entry in report[:MAX_CHANGES]
            ]
        )
    except (ValidationError, TypeError, KeyError, AttributeError):
        return ()


def names_in(value: Any) -> tuple[str, ...]:
    """Return the names in what the kernel reported, each on one line; () if it is not a list."""
    names = value[:MAX_CHANGES] if isinstance(value, list) else []
    lines = (" ".join(text_of(name)[:NAME_CHARACTERS].split()) for name in names)
    return tuple(line for line in lines if line)


def bounded(value: Any) -> Any:
    """Limit the size of a text or number."""
    match value:
        case str():
            return value[:NAME_CHARACTERS]
        case int():
            return max(0, min(value, 1 << 62))
    return value
