"""Talk to a kernel: code in, a finished cell out, whatever the code does.

A `KernelClient` reads all that its kernel says at all times, so nothing piles up, and
keeps only what the folds allow. A cell ends in one of four ways: it finishes; its
time is up and an interrupt frees it; its time is up and nothing frees it; or the
kernel dies. After the last two the state is lost and the kernel must be replaced.
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

READY_S = 60.0
SUBSCRIBE_AGAIN_S = 0.5
INTERRUPT_S = 5.0
"""How long an interrupted cell may take to end before its kernel is given up."""
MESSAGE_BYTES = 16 * 1024 * 1024
"""A kernel that announces a longer part of a message is cut off before we hold it; a message that
is longer in all is dropped unread: as Python objects it could be many times as large."""
WAITING_MESSAGES = 32
"""Of each channel, kept by ZMQ until we read them; further ones wait in the kernel's box.

Both limits are for a kernel that undid its caps (`guest.output_caps`). What remains: ZMQ gathers
all parts of a message before we see it, so one of very many parts costs the host that much.
"""
MOST_TOLD = 100
"""Changed variables and files taken from one reply, each."""
WORD_CHARACTERS = 200
"""Of a variable's or a file's name."""
EXIT_S = 2.0
"""How long a kernel that a cell told to exit may take; its event loop stops after 0.1 s."""
LAST_WORDS_S = 0.1
"""How long the messages of a kernel that just died are waited for."""

T = TypeVar("T")


@dataclass
class Running:
    """The cell that is running: what it has shown and whether it is over."""

    message_id: str
    fold: OutputCollector = field(default_factory=OutputCollector)
    reply: dict[str, Any] | None = None
    idle: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self) -> None:
        """A cell is over when it has been answered and everything it showed has arrived."""
        if self.reply is not None and self.idle:
            self.over.set()


class KernelClient:
    """A kernel that is ready. One cell runs at a time."""

    def __init__(
        self, client: AsyncKernelClient, process: Process, line: ControlChannel | None
    ) -> None:
        self.process = process
        self.line = line
        """By which it can be copied; None for a plain kernel."""
        self.dead: str | None = None
        """Why the kernel cannot be used any more; None while it can."""
        self.not_understood = 0
        """Messages that were no Jupyter messages: dropped and counted."""
        self._client = client
        self._running: Running | None = None
        self._late = OutputCollector()
        self._death = asyncio.Event()
        self._closed = asyncio.Event()
        """The kernel's end of the channel that it shows its outputs on is closed."""
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, code: str, *, timeout_s: float, silent: bool = False) -> Cell:
        """Run one cell to its end, or to the end of its time.

        With `silent` it is not counted, not in the kernel's history, and tells no changes.
        Raises `KernelError` when the kernel was already dead; a kernel that dies now is a
        `Cell` that says what `broke` it. A caller that cancels gives the kernel up: what the
        cell did to it until then, nobody was told.
        """
        if self.dead is not None:
            raise KernelError(f"the kernel cannot run a cell: {self.dead}")
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
        cell = self._running = Running(message["header"]["msg_id"])
        try:
            self._send(self._client.shell_channel, message)
            timed_out = not await self._over(cell, timeout_s)
            if timed_out and self.dead is None:
                await self.interrupt()
                if not await self._over(cell, INTERRUPT_S):
                    self.dead = self.dead or (
                        f"the cell did not end in {timeout_s:g} s and ignored the interrupt"
                    )
            if self.dead is None and exits(cell.reply):
                await self._exited()
        except asyncio.CancelledError:
            self.dead = self.dead or "a cell was cancelled while it ran, so it is in no record"
            raise
        finally:
            self._running = None
        return finished(
            cell,
            late.outputs() + self._late_so_far(),
            seconds=time.perf_counter() - started,
            timed_out=timed_out,
            broke=self.dead,
        )

    async def _exited(self) -> None:
        """See it end in the cell that told it to, and not in whatever runs a moment later."""
        try:
            await asyncio.wait_for(self._death.wait(), EXIT_S)
        except TimeoutError:
            self._died("the cell told the kernel to exit")

    async def interrupt(self) -> None:
        """Send the running cell a KeyboardInterrupt."""
        self._send(self._client.control_channel, self._client.session.msg("interrupt_request", {}))

    def _send(self, channel: Any, message: Any) -> None:
        """Never wait: a kernel that broke the connection would make us wait for ever."""
        try:
            channel.send(message)
        except zmq.Again:
            self._died("the kernel broke its connections")

    def _late_so_far(self) -> tuple[dict[str, Any], ...]:
        late, self._late = self._late, OutputCollector()
        return late.outputs()

    async def _over(self, cell: Running, timeout_s: float) -> bool:
        """Wait for the cell's end or the kernel's; False when neither came in time."""
        over = asyncio.ensure_future(cell.over.wait())
        death = asyncio.ensure_future(self._death.wait())
        try:
            done, _ = await asyncio.wait(
                {over, death}, timeout=timeout_s, return_when=FIRST_COMPLETED
            )
            if death in done and over not in done:
                await self._last_words(over)
                done = {death}
            return bool(done)
        finally:
            over.cancel()
            death.cancel()

    async def _last_words(self, over: asyncio.Future[Any]) -> None:
        """Take what a dead kernel has said: all of it is here once its connection has closed."""
        closed = asyncio.ensure_future(self._closed.wait())
        await asyncio.wait({over, closed}, timeout=LAST_WORDS_S, return_when=FIRST_COMPLETED)
        closed.cancel()
        deadline = time.perf_counter() + LAST_WORDS_S
        while await self._client.iopub_channel.socket.poll(0):  # until it is read, elsewhere
            if time.perf_counter() > deadline:
                return

    # ── what the kernel says ──────────────────────────────────────────────────────────────

    async def _listen(self, channel: Any, take: Any) -> None:
        while True:
            parts = await channel.socket.recv_multipart()
            if sum(map(len, parts)) > MESSAGE_BYTES:
                self.not_understood += 1
                continue
            try:
                _, rest = self._client.session.feed_identities(parts)
                message = self._client.session.deserialize(rest)
                if not isinstance(message["content"], dict):
                    raise TypeError("the content of a message is an object")
                take(
                    message["msg_type"], message["parent_header"].get("msg_id"), message["content"]
                )
            except Exception:  # noqa: BLE001 - forged or broken in any way: counted, and no harm
                self.not_understood += 1

    def _iopub(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        cell = self._running
        if cell is None or parent != cell.message_id or cell.over.is_set():
            if kind == "iopub_welcome":
                self._answered(kind)
            self._late.take(kind, content)
        elif kind == "status":
            cell.idle = cell.idle or content["execution_state"] == "idle"
            cell.look()
        else:
            cell.fold.take(kind, content)

    def _shell(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        if kind == "kernel_info_reply":
            self._answered(kind)
        elif kind == "execute_reply" and self._running and parent == self._running.message_id:
            self._running.reply = content
            self._running.look()

    def _control(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        """Replies to interrupts say nothing that the cell's end does not."""

    def _answered(self, kind: str) -> None:
        answer = self._answers.get(kind)
        if answer is not None and not answer.done():
            answer.set_result(None)

    # ── life and death ────────────────────────────────────────────────────────────────────

    async def _watch_connection(self, channel: Any) -> None:
        """The kernel's end of a connection closes when it dies, however it dies."""
        with channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            try:
                await recv_monitor_message(monitor)
            finally:
                channel.socket.disable_monitor()
        if channel is self._client.iopub_channel:
            self._closed.set()
        try:  # the exit code says more than the broken connection; it comes at once or not at all
            code = await asyncio.wait_for(self.process.wait(), LAST_WORDS_S)
            self._died(cause_of_death(code))
        except TimeoutError:
            self._died("the kernel closed its connections")
        except SandboxError as error:
            self._died(f"the kernel is gone with its sandbox: {error}")

    async def _watch_process(self) -> None:
        """A child of the kernel may hold its connection open, so its exit is watched as well."""
        try:
            self._died(cause_of_death(await self.process.wait()))
        except SandboxError as error:
            self._died(f"the kernel is gone with its sandbox: {error}")

    def _died(self, cause: str) -> None:
        self.dead = self.dead or cause
        self._death.set()

    async def start(self) -> None:
        """Connect, and wait until the kernel answers. Raises `KernelError`."""
        client = self._client
        client.start_channels(stdin=False, hb=False)
        for channel in (client.shell_channel, client.control_channel):
            channel.socket.setsockopt(zmq.SNDTIMEO, 0)
        loop = asyncio.get_running_loop()
        self._answers = {
            kind: loop.create_future() for kind in ("iopub_welcome", "kernel_info_reply")
        }
        channels = (client.shell_channel, client.control_channel, client.iopub_channel)
        watches = (
            self._listen(client.iopub_channel, self._iopub),
            self._listen(client.shell_channel, self._shell),
            self._listen(client.control_channel, self._control),
            *map(self._watch_connection, channels),
            self._watch_process(),
        )
        self._tasks = [asyncio.create_task(watch) for watch in watches]
        client.shell_channel.send(client.session.msg("kernel_info_request", {}))
        ready = asyncio.ensure_future(asyncio.wait(self._answers.values()))
        death = asyncio.ensure_future(self._death.wait())
        try:
            await self._ready([ready, death])
            if not ready.done():
                cause = self.dead or f"it was not ready in {READY_S:g} s"
                said = self.process.tail().strip().rpartition("\n")[2]
                raise KernelError(
                    f"the kernel did not start: {cause}" + (f" ({said})" if said else "")
                )
        finally:
            ready.cancel()
            death.cancel()
        self._late = OutputCollector()

    async def _ready(self, signs: list[asyncio.Future[Any]]) -> None:
        """Wait for any of these, for as long as a kernel may take to start.

        About once in 3,000 starts ipykernel sleeps through our subscription: its thread speaks on
        the socket at that very moment, which takes the wake-up, and it is not told again. So we
        subscribe again.
        """
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            done, _ = await asyncio.wait(
                signs, timeout=SUBSCRIBE_AGAIN_S, return_when=FIRST_COMPLETED
            )
            if done:
                return
            self._client.iopub_channel.socket.subscribe(b"")

    async def stop(self) -> None:
        """Let go of the connections; the kernel itself is its launcher's to end."""
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
    """A fresh kernel in a box, ended on leaving. Raises `KernelError` when it does not start."""
    launched = await launch(sandbox, env=env)
    try:
        async with connected(launched) as kernel:
            yield kernel
    finally:
        with suppress(SandboxError):  # the box is gone, and the kernel with it
            await launched.process.signal(signal.SIGKILL)


@asynccontextmanager
async def connected(launched: Launched) -> AsyncIterator[KernelClient]:
    """A kernel that was launched, once it is ready. Leaving lets go of it and does not end it."""
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.RCVHWM, WAITING_MESSAGES)
    context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
    client = AsyncKernelClient(context=context)
    client.load_connection_info(cast("KernelConnectionInfo", launched.connection_info))
    kernel = KernelClient(client, launched.process, launched.line)
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.stop()
        launched.forget()


def exits(reply: dict[str, Any] | None) -> bool:
    """Whether a cell told its kernel to exit, as `quit()` does."""
    payload = (reply or {}).get("payload")
    return isinstance(payload, list) and any(
        isinstance(part, dict) and part.get("source") == "ask_exit" and not part.get("keepkernel")
        for part in payload
    )


def cause_of_death(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"the kernel exited with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    hint = ", as the memory limit does" if name == "SIGKILL" else ""
    return f"the kernel was ended by {name}{hint}"


def finished(
    cell: Running,
    late: tuple[dict[str, Any], ...],
    *,
    seconds: float,
    timed_out: bool,
    broke: str | None,
) -> Cell:
    """The value that a cell leaves behind."""
    reply = cell.reply or {}
    told = reply.get("kernel_env")
    told = told if isinstance(told, dict) else {}
    dropped = told.get("dropped")
    dropped = dropped if isinstance(dropped, dict) else {}
    return Cell(
        outputs=cell.fold.outputs(),
        execution_count=count_of(reply.get("execution_count")),
        seconds=round(seconds, 6),
        timed_out=timed_out,
        broke=broke,
        dropped_bytes=cell.fold.left_out_bytes
        + sum(brief(count_of(dropped.get(name)) or 0) for name in DROPPED),
        late=late,
        variables=parsed(VARIABLES, told.get("variables")),
        files=parsed(FILES, told.get("files")),
    )


DROPPED = ("stdout", "stderr", "display")
"""What the kernel counts of what it left out itself."""
VARIABLES = TypeAdapter(tuple[Variable, ...])
FILES = TypeAdapter(tuple[FileChange, ...])


def parsed(adapter: TypeAdapter[tuple[T, ...]], told: Any) -> tuple[T, ...]:
    """What the kernel told in its own words, if it is what it should be; else nothing."""
    try:
        return adapter.validate_python(
            [
                {name: brief(value) for name, value in json_of(entry).items()}
                for entry in told[:MOST_TOLD]
            ]
        )
    except (ValidationError, TypeError, KeyError, AttributeError):
        return ()


def brief(value: Any) -> Any:
    """A word or a number of a size that can be shown."""
    match value:
        case str():
            return value[:WORD_CHARACTERS]
        case int():
            return max(0, min(value, 1 << 62))
    return value
