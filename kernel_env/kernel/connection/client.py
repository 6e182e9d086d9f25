"""Talk to a kernel: send code, receive a finished cell, whatever the code does.

A `KernelClient` reads all messages of its kernel at all times, so that none pile up, and keeps
only what the output collectors allow. A cell ends in one of four ways: it finishes; its time is
up and an interrupt ends it; its time is up and nothing ends it; or the kernel dies. After the
last two the state is lost and the kernel must be replaced.
"""

import asyncio
import secrets
import signal
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection import messages, zmtp
from kernel_env.kernel.connection.control_channel import ControlChannel
from kernel_env.kernel.connection.launch import Launched, launch
from kernel_env.kernel.connection.messages import INVALID, Message
from kernel_env.kernel.connection.output_intake import OutputIntake
from kernel_env.kernel.connection.outputs import text_of
from kernel_env.kernel.connection.running_cell import (
    Observer,
    RunningCell,
    asks_to_exit,
    cause_of_death,
    cell_of,
)
from kernel_env.sandbox.pacing import loop_share
from kernel_env.sandbox.protocol import Sandbox

READY_S, FORK_READY_S = 60.0, 15.0
"""Time limits for a kernel to be ready: one that boots, and one that was forked."""
SUBSCRIBE_AGAIN_S = 0.5
INTERRUPT_S = 5.0
"""Time limit for an interrupted cell to end, before its kernel is replaced."""
REPLY_BYTES, STATUS_BYTES = 2 * 1024 * 1024, 64 * 1024
"""Most bytes parsed of a reply, and of a status. A kernel with its caps (`guest.output_caps`) sends
less."""
EXIT_S = 2.0
"""Time limit for a kernel to exit when a cell asked it to; its event loop stops after 0.1 s."""
DRAIN_S = 0.1
"""Time to wait for the last messages of a kernel that just died."""
CAUSE_S = 1.0
"""Time to wait for the exit code of a kernel whose connections have closed. It arrives at once, on
a busy machine later, and never if the kernel only closed them."""


class KernelClient:
    """A connection to a kernel that is ready. One cell runs at a time."""

    def __init__(self, launched: Launched) -> None:
        self.process = launched.process
        self.channel: ControlChannel | None = launched.channel
        """The control channel by which it is forked; None for a plain kernel."""
        self.death_reason: str | None = None
        """Why the kernel cannot be used any more; None while it can."""
        self.invalid_messages = 0
        """Number of messages that were dropped because they were not valid Jupyter messages."""
        self.observe_rest: Observer | None = None
        """Called with each message that belongs to no running cell: late outputs, widgets."""
        self._info = launched.connection_info
        self._key, self._session = self._info["key"].encode(), secrets.token_hex(16)
        self._share = loop_share()
        self._connections: dict[str, zmtp.Connection] = {}
        self._running: RunningCell | None = None
        self._late = OutputIntake()
        self._death = asyncio.Event()
        self._closed = asyncio.Event()
        """Set when the kernel's end of the iopub channel is closed."""
        self._ready = {kind: asyncio.Event() for kind in ("iopub_welcome", "kernel_info_reply")}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, asyncio.Future[Message]] = {}

    async def run(
        self,
        code: str,
        *,
        timeout_s: float,
        silent: bool = False,
        request: Mapping[str, Any] | None = None,
        observe: Observer | None = None,
    ) -> Cell:
        """Run one cell until it ends or its time is up.

        If the kernel dies, `Cell.broke` says why. If the caller cancels, the kernel must be
        replaced, because what the cell has done is unknown.

        Args:
            code: the source of the cell.
            timeout_s: its time limit, seconds; can be infinite.
            silent: whether it is not counted, not in the kernel's history, and reports no changes.
            request: further fields of the `execute_request`.
            observe: called with each message of the cell as it arrives, the reply included.

        Raises `KernelError` if the kernel was already dead.
        """
        if self.death_reason is not None:
            raise KernelError(f"the kernel cannot run a cell: {self.death_reason}")
        late = self._take_late_outputs()
        started = time.perf_counter()
        content = {
            "code": text_of(code),
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
            **(request or {}),
        }
        number, parts = messages.request("execute_request", content, self._key, self._session)
        dropped_before = self._connections["iopub"].dropped_bytes
        cell = self._running = RunningCell(number, dropped_before, observe=observe)
        try:
            self._send("shell", parts)
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
            late + self._take_late_outputs(),
            dropped_bytes=self._connections["iopub"].dropped_bytes - cell.dropped_before,
            seconds=time.perf_counter() - started,
            timed_out=timed_out,
            broke=self.death_reason,
        )

    async def _exited(self) -> None:
        """Wait for its end, so that it dies in this cell and not in a later one."""
        try:
            async with asyncio.timeout(EXIT_S):
                await self._death.wait()
        except TimeoutError:
            self._died("the cell told the kernel to exit")

    @property
    def busy(self) -> bool:
        """Return whether a cell is running."""
        return self._running is not None

    async def interrupt(self) -> None:
        """Send the running cell a KeyboardInterrupt."""
        self.send("interrupt_request", {}, channel="control")

    def give_up(self, reason: str) -> None:
        """End the running cell, which hangs: the kernel must be replaced."""
        self._died(reason)

    def send(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        channel: str = "shell",
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
    ) -> str:
        """Send a request that runs no cell, and return its ID."""
        number, parts = messages.request(
            kind, content, self._key, self._session, metadata=metadata, buffers=buffers
        )
        self._send(channel, parts)
        return number

    async def ask(
        self, kind: str, content: Mapping[str, Any], *, channel: str = "shell"
    ) -> Message:
        """Send a request that runs no cell, and return the reply, once no cell runs.

        Raises `KernelError` if the kernel dies.
        """
        if self.death_reason is not None:
            raise KernelError(f"the kernel cannot answer: {self.death_reason}")
        number = self.send(kind, content, channel=channel)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = reply
        death = asyncio.ensure_future(self._death.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [reply, death]
            await asyncio.wait(waiting, return_when=FIRST_COMPLETED)
            if not reply.done():
                raise KernelError(f"the kernel cannot answer: {self.death_reason}")
            return reply.result()
        finally:
            death.cancel()
            del self._asked[number]

    def _send(self, channel: str, parts: list[bytes]) -> None:
        """Send without blocking: a kernel that broke its connection would block for ever."""
        try:
            self._connections[channel].send(parts)
        except OSError:
            self._died("the kernel broke its connections")

    def _take_late_outputs(self) -> tuple[dict[str, Any], ...]:
        late, self._late = self._late, OutputIntake()
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

    # ── messages of the kernel ────────────────────────────────────────────────────────────

    def _receive(self, take: Callable[[Message], None], parts: list[bytes]) -> None:
        try:
            take(messages.read(parts))
        except INVALID:  # untrusted input, invalid in any way
            self.invalid_messages += 1

    def _iopub(self, message: Message) -> None:
        cell = self._running
        if cell is None or message.parent != cell.message_id or cell.done.is_set():
            self._replied(message.kind)
            if self._late.take(message) and self.observe_rest is not None:
                self.observe_rest(message)
        elif message.kind == "status":
            message.check_signature(self._key)
            if messages.parsed_content(message.content, STATUS_BYTES)["execution_state"] == "idle":
                cell.set_idle()
        elif cell.outputs.take(message) and cell.observe is not None:
            cell.observe(message)

    def _shell(self, message: Message) -> None:
        message.check_signature(self._key)
        self._replied(message.kind)
        self._answered(message)
        cell = self._running
        if cell is None or message.parent != cell.message_id:
            return
        if message.kind == "execute_reply":
            try:
                cell.set_reply(messages.parsed_content(message.content, REPLY_BYTES))
            except INVALID:  # it ends the cell in any case
                cell.set_reply({})
                raise
            if cell.observe is not None:
                cell.observe(message)

    def _control(self, message: Message) -> None:
        """Take replies to `ask`; those to interrupts say the same as the end of the cell."""
        message.check_signature(self._key)
        self._answered(message)

    def _answered(self, message: Message) -> None:
        reply = self._asked.get(message.parent or "")
        if reply is not None and not reply.done():
            reply.set_result(message)

    async def _is_ready(self) -> None:
        for event in self._ready.values():
            await event.wait()

    def _replied(self, kind: str) -> None:
        if kind in self._ready:
            self._ready[kind].set()

    # ── start and end ─────────────────────────────────────────────────────────────────────

    def _connection_closed(self, channel: str) -> None:
        """Notice the kernel's death by the end of a connection, which closes however it dies."""
        if channel == "iopub":
            self._closed.set()
        self._watch(self._find_cause())

    async def _find_cause(self) -> None:
        """Record why a kernel died: by its exit code, which says more, or else by what was seen."""
        try:
            async with asyncio.timeout(CAUSE_S):
                code = await self.process.wait()
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

    def _watch(self, watch: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(watch))

    async def start(self) -> None:
        """Connect, and wait until the kernel answers. Raises `KernelError`."""
        try:
            self._connect("shell", "DEALER", self._shell)
            self._connect("control", "DEALER", self._control)
            self._connect("iopub", "SUB", self._iopub)
            self._connections["iopub"].subscribe()
        except OSError as error:  # it has ended already
            await self._find_cause()
            raise self._not_started(self.death_reason) from error
        self._watch(self._watch_process())
        self.send("kernel_info_request", {})
        limit_s = READY_S if self.channel is None else FORK_READY_S
        ready = asyncio.ensure_future(self._is_ready())
        death = asyncio.ensure_future(self._death.wait())
        try:
            await self._wait_for([ready, death], limit_s)
            if not ready.done():
                raise self._not_started(self.death_reason or f"it was not ready in {limit_s:g} s")
        finally:
            ready.cancel()
            death.cancel()
        self._late = OutputIntake()

    def _not_started(self, cause: str | None) -> KernelError:
        said = self.process.tail().strip().rpartition("\n")[2]
        return KernelError(f"the kernel did not start: {cause}" + (f" ({said})" if said else ""))

    def _connect(
        self, channel: str, kind: zmtp.SocketType, take: Callable[[Message], None]
    ) -> None:
        self._connections[channel] = zmtp.Connection(
            f"{self._info['ip']}-{self._info[f'{channel}_port']}",
            kind,
            partial(self._receive, take),
            partial(self._connection_closed, channel),
            self._share,
        )

    async def _wait_for(self, signs: list[asyncio.Future[Any]], limit_s: float) -> None:
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
            with suppress(OSError):
                self._connections["iopub"].subscribe()

    async def stop(self) -> None:
        """Close the connections. Whoever launched the kernel ends it."""
        for connection in self._connections.values():
            connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_kernel(
    sandbox: Sandbox, *, env: Mapping[str, str] | None = None, payloads: bool = False
) -> AsyncIterator[KernelClient]:
    """Launch a plain kernel in a sandbox and end it on leaving. Raises `KernelError`."""
    launched = await launch(sandbox, env=env, payloads=payloads)
    try:
        async with connected(launched) as kernel:
            yield kernel
    finally:
        with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
            await launched.process.signal(signal.SIGKILL)


@asynccontextmanager
async def connected(launched: Launched) -> AsyncIterator[KernelClient]:
    """Connect to a launched kernel and wait until it is ready. Leaving does not end the kernel."""
    kernel = KernelClient(launched)
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.stop()
        launched.release()
