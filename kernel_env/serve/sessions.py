"""Keep the live episodes of a server: one registry, whatever the protocol.

    async with Sessions(offer, limits) as sessions:
        session = await sessions.open("adult-income")
        turn = await sessions.call(session.handle, "execute_code", {"code": "1 + 1"})
        await sessions.close(session.handle)

A session is an episode that a client knows by a handle, which cannot be guessed. It ends when its
client closes it, after a time without a call, when the machine fails, and with the server. A handle
of a session that has ended gets a sentence that says so.

A call that its client gives up interrupts the cell, as Ctrl-C does: the step is recorded, variables
stay, and the session can continue.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from kernel_env.episode.machine import machine_memory_gb
from kernel_env.errors import KernelError, NoSession, SandboxError, ServerFull, TaskError
from kernel_env.field_docs import show_fields
from kernel_env.grading.host import Grader
from kernel_env.kernel.warm_pool import Pool
from kernel_env.rollouts import Rollout, Turn
from kernel_env.serve.offer import Offer

INTERRUPTS_S = (1.0, 5.0)
"""How long a cell may take to end after its first interrupt, which it misses if it has not begun
yet, and after the second. A third one ends its kernel, which is restored."""
POLL_S = 0.1
"""The interval between two looks at a step whose cell does not run yet, or not any more."""
MAX_REMEMBERED = 10_000
"""Of how many ended sessions the reason is kept."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the sessions of a server may use together."""

    sessions: int = 8
    """How many are open at the same time."""
    idle_s: float = 600.0
    """Seconds without a call after which a session ends."""
    memory_gb: float = field(default_factory=machine_memory_gb)
    """The sum of the memory limits of their containers, GiB. Forks share a container."""


class Session:
    """A live episode that a client knows by its handle."""

    def __init__(self, rollout: Rollout, *, task: str, memory_gb: float, root: str = "") -> None:
        self.rollout, self.task, self.memory_gb = rollout, task, memory_gb
        self.handle = secrets.token_urlsafe(24)
        self.root = root or self.handle
        """The handle of the session that it was forked from, directly or not: they share a
        container."""
        self.ended = asyncio.Event()
        """Set when it has ended, container and all."""
        self.turn = asyncio.Lock()
        """Held while a call is carried out; the others wait."""
        self.calls: set[asyncio.Task[Any]] = set()
        """The calls that run or wait."""
        self.running: asyncio.Task[Any] | None = None
        """The call that runs."""
        self.in_trial = False
        """Whether it is a trial."""
        self.users = 0
        """The number of calls that its clients wait for."""
        self.idle_timer: asyncio.TimerHandle | None = None

    @property
    def has_kernel(self) -> bool:
        """Return whether its episode has not ended: it uses a container."""
        return self.rollout.episode.steps.ending is None


class Sessions:
    """The sessions of a server. Leaving ends them all."""

    def __init__(self, offer: Offer, limits: Limits | None = None) -> None:
        """Create an empty registry.

        Args:
            offer: which episodes clients can open.
            limits: what they may use together.
        """
        self.offer, self.limits = offer, limits or Limits()
        self._live: dict[str, Session] = {}
        self._ending: dict[str, Session] = {}
        self._opening: list[float] = []
        """The memory of each session that is being opened."""
        self._reasons: OrderedDict[str, str] = OrderedDict()
        """Why sessions have ended, by handle."""
        self._background: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._left = False
        self.grader = Grader()
        self.pool = Pool(size=offer.warm) if offer.warm else None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.grader)
        if self.pool is not None:
            await self._stack.enter_async_context(self.pool)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        try:
            await asyncio.gather(
                *(self._end(session, "the server has ended") for session in self.live),
                return_exceptions=True,
            )
            await asyncio.gather(*self._background, return_exceptions=True)
        finally:
            await self._stack.aclose()

    @property
    def live(self) -> Sequence[Session]:
        """Return the sessions that have not ended, in the order in which they were opened."""
        return list(self._live.values())

    def find(self, handle: str) -> Session:
        """Return a session that has not ended. Raises `NoSession`."""
        if session := self._live.get(handle):
            return session
        if reason := self._reasons.get(handle):
            raise NoSession(f"the episode has ended: {reason}; open another one")
        raise NoSession("no episode has this handle; open one, and use the handle that comes back")

    # ── open, fork, close ─────────────────────────────────────────────────────────────────

    async def open(
        self, task: str, *, seed: int = 0, budget: Mapping[str, float | None] | None = None
    ) -> Session:
        """Open an episode.

        Args:
            task: the name of a task that is offered.
            seed: the agent's seed, for the result.
            budget: limits that are lower than those of the offer.

        Raises:
            UnknownName, UsageError, TaskError: the request is wrong, or the task.
            ServerFull: the limits are reached.
            SandboxError, KernelError: the machine failed.
        """
        config = await asyncio.to_thread(self.offer.config, task, seed=seed, budget=budget or {})
        memory_gb = config.load_task().file.limits.memory_gb
        with self._admitted([memory_gb]):
            rollout = await Rollout.begin(
                config,
                observation_chars=self.offer.observation_chars,
                grader=self.grader,
                pool=self.pool,
            )
            return await self._add(Session(rollout, task=task, memory_gb=memory_gb))

    async def fork(
        self, handle: str, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> list[Session]:
        """Open sessions that continue from here, or from after an earlier step.

        Raises `NoSession`, `ServerFull`, and as `Rollout.fork` does.
        """
        session = self.find(handle)
        with self._admitted([0.0] * n), self._in_use(session):
            async with session.turn:
                rollouts = await session.rollout.fork(n, at_step=at_step, reseed=reseed)
            task, memory_gb, root = session.task, session.memory_gb, session.root
            return [
                await self._add(Session(each, task=task, memory_gb=memory_gb, root=root))
                for each in rollouts
            ]

    async def close(self, handle: str, reason: str = "its client closed it") -> Session:
        """End a session; its running cell is interrupted. Raises `NoSession`."""
        session = self.find(handle)
        await self._end(session, reason)
        return session

    async def hold(self, handle: str) -> str:
        """Wait until a session has ended, and return why; end it when the caller is cancelled.

        For clients that keep a connection open, so that their death is noticed. Raises `NoSession`.
        """
        session = self.find(handle)
        try:
            await session.ended.wait()
        except asyncio.CancelledError:
            self._spawn(self._end(session, "its client has gone"))
            raise
        return self._reasons.get(handle, "")

    @contextmanager
    def _admitted(self, memory_gb: list[float]) -> Iterator[None]:
        """Reserve room for sessions until the block has ended. Raises `ServerFull`."""
        limits, known = self.limits, [*self._live.values(), *self._ending.values()]
        sessions = [each for each in known if each.has_kernel]
        taken = len(sessions) + len(self._opening)
        if taken + len(memory_gb) > limits.sessions:
            raise ServerFull(
                f"{taken} of {limits.sessions} episodes are open; close one, or wait until one"
                f" ends by itself, {limits.idle_s:g} s after its last call"
            )
        used = sum({each.root: each.memory_gb for each in sessions}.values()) + sum(self._opening)
        if used + sum(memory_gb) > limits.memory_gb:
            raise ServerFull(
                f"the episode needs {sum(memory_gb):g} GiB of memory, and {used:g} of"
                f" {limits.memory_gb:.3g} GiB are taken; close an episode, or start the server with"
                " a larger --memory"
            )
        self._opening += memory_gb
        try:
            yield
        finally:
            for each in memory_gb:
                self._opening.remove(each)

    async def _add(self, session: Session) -> Session:
        if self._left:
            await session.rollout.close()
            raise NoSession("the server has ended")
        self._live[session.handle] = session
        self._start_idle_timer(session)
        return session

    async def _end(self, session: Session, reason: str) -> None:
        """End a session, or wait until it has ended."""
        if self._live.pop(session.handle, None) is None:
            await session.ended.wait()
            return
        self._ending[session.handle] = session
        self._reasons[session.handle] = reason
        if len(self._reasons) > MAX_REMEMBERED:
            self._reasons.popitem(last=False)
        self._stop_idle_timer(session)
        try:
            await asyncio.gather(*(self._stop(session, call) for call in session.calls))
            await session.rollout.close()
        finally:
            del self._ending[session.handle]
            session.ended.set()

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    async def call(self, handle: str, name: str, arguments: Mapping[str, Any]) -> Turn:
        """Carry out an action in a session. When the caller is cancelled, its cell is interrupted.

        Raises:
            NoSession: there is no such session, or not any more.
            SandboxError, KernelError, TaskError: the machine or the task failed; the session ends.
        """
        session = self.find(handle)
        with self._in_use(session):
            call = asyncio.create_task(self._call(session, name, arguments))
            session.calls.add(call)
            call.add_done_callback(session.calls.discard)
            try:
                return await asyncio.shield(call)
            except asyncio.CancelledError:
                if call.cancelled():
                    raise NoSession(f"the episode has ended: {self._reasons[handle]}") from None
                self._spawn(self._stop(session, call))
                raise
            except (SandboxError, KernelError, TaskError) as error:
                await self._end(session, f"{error}")
                raise

    async def _call(self, session: Session, name: str, arguments: Mapping[str, Any]) -> Turn:
        async with session.turn:
            session.running, session.in_trial = asyncio.current_task(), name == "validate_code"
            try:
                return await session.rollout.call(name, arguments)
            finally:
                session.running = None

    async def _stop(self, session: Session, call: asyncio.Task[Any]) -> None:
        """End a call: one that waits does not begin, the cell of one that runs is interrupted.

        A trial is cancelled: nothing that it does lasts.
        """
        kernel = session.rollout.episode.kernel
        if session.running is not call or session.in_trial:
            call.cancel()
        pauses_s = iter(INTERRUPTS_S)
        while not call.done():
            pause_s = POLL_S
            if session.running is call and kernel.living is not None and kernel.living.busy:
                await kernel.interrupt()
                pause_s = next(pauses_s, POLL_S)
            await asyncio.wait({call}, timeout=pause_s)
        if not call.cancelled():
            call.exception()  # nobody waits for it any more

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; leaving the registry waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ── idle sessions ─────────────────────────────────────────────────────────────────────

    @contextmanager
    def _in_use(self, session: Session) -> Iterator[None]:
        """Keep a session from ending as idle within the block."""
        session.users += 1
        self._stop_idle_timer(session)
        try:
            yield
        finally:
            session.users -= 1
            if not session.users and session.handle in self._live:
                self._start_idle_timer(session)

    def _start_idle_timer(self, session: Session) -> None:
        reason = f"nobody called it for {self.limits.idle_s:g} s"
        session.idle_timer = asyncio.get_running_loop().call_later(
            self.limits.idle_s, lambda: self._spawn(self._end(session, reason))
        )

    def _stop_idle_timer(self, session: Session) -> None:
        if session.idle_timer is not None:
            session.idle_timer.cancel()
            session.idle_timer = None
