"""Serve episodes to trainers by OpenEnv's protocol: a WebSocket per episode.

    reset   {"task": …, "seed": 0, "budget": {…}}     →  observation: the prompt
    step    {"name": …, "arguments": {…}}             →  observation, reward, done

A connection has one episode at a time, which ends with it, also when the client dies during a step.
OpenEnv's client connects again by itself after a step that was given up, to a server that knows
nothing of it: a step without a reset is an error then, and each observation has the episode's id.

The extra `openenv` has the package. Over plain HTTP, OpenEnv begins a new environment for each
request, which nobody could continue; these requests are refused.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from openenv.core.env_server import (
    Action,
    ConcurrencyConfig,
    Environment,
    Observation,
    State,
    create_app,
)
from pydantic import Field

from kernel_env.errors import UnknownName, UsageError
from kernel_env.rollouts import Turn
from kernel_env.serve.access import Access, Refusal
from kernel_env.serve.asgi import App, Message, Receive, Send, drain, refuse, serve_app
from kernel_env.serve.sessions import Session, Sessions

T = TypeVar("T")
CLOSE_S = 60.0
"""Time limit for an episode to end when its connection has."""
MAX_WAITING = 16
"""How many messages of a client can wait while it is answered; with more it is disconnected."""
STATELESS = ("/reset", "/step", "/state", "/mcp")
"""The paths that begin an environment for each request."""
SPLIT = "all"
"""The name of the split that has all tasks."""
NO_EPISODE = "there is no episode; call reset first, also after the connection was lost"


class KernelAction(Action):
    """A call of one of an agent's tools."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class KernelObservation(Observation):
    """What an agent reads after a call; after a reset, the prompt."""

    text: str
    episode: str
    """The id of the episode: a client that was connected anew sees that it is another one."""
    error: str = ""
    over: str = ""
    images: list[str] = Field(default_factory=list)


class KernelServer(Environment[KernelAction, KernelObservation, State]):
    """The environment of one connection."""

    SUPPORTS_CONCURRENT_SESSIONS: ClassVar[bool] = True

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions
        self.session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def reset(self, *_: Any, **__: Any) -> KernelObservation:
        """Raise: the server calls `reset_async`."""
        raise NotImplementedError

    def step(self, *_: Any, **__: Any) -> KernelObservation:
        """Raise: the server calls `step_async`."""
        raise NotImplementedError

    async def reset_async(
        self,
        seed: int | None = None,
        episode_id: str | None = None,  # noqa: ARG002 - ids are the server's
        **options: Any,
    ) -> KernelObservation:
        """End the episode and open another one.

        Raises `UsageError`, `ServerFull`, `TaskError`, `SandboxError`, `KernelError`.
        """
        self._loop = asyncio.get_running_loop()
        tasks = list(self.sessions.offer.tasks)
        task = options.pop("task", tasks[0] if len(tasks) == 1 else "")
        if "index" in options:
            task = self.get_task(options.pop("split", SPLIT), options.pop("index"))["task"]
        budget = options.pop("budget", None)
        if options or not isinstance(task, str) or not isinstance(budget, dict | None):
            raise UsageError(
                "reset takes a task, which is a text, or split and index; a seed; and a budget,"
                " which is an object"
                + (f"; not {', '.join(map(repr, options))}" if options else "")
            )
        await self._end()
        opening = self.sessions.open(task, seed=seed or 0, budget=budget)
        self.session = await while_connected(opening)
        rollout = self.session.rollout
        return KernelObservation(text=rollout.prompt, episode=rollout.id)

    async def step_async(
        self,
        action: KernelAction,
        timeout_s: float | None = None,  # noqa: ARG002 - cells have the limit of the budget
        **_: Any,
    ) -> KernelObservation:
        """Carry out an action. Raises `UsageError`, `NoSession`, `SandboxError`, `KernelError`."""
        if (session := self.session) is None:
            raise UsageError(NO_EPISODE)
        call = self.sessions.call(session.handle, action.name, action.arguments)
        return observation_of(session, await while_connected(call))

    @property
    def state(self) -> State:
        """Return the state of the episode."""
        if (session := self.session) is None:
            return State()
        rollout = session.rollout
        return State(episode_id=rollout.id, step_count=len(rollout.episode.steps))

    # ── what there is to reset to ─────────────────────────────────────────────────────────

    def list_splits(self) -> list[str]:
        """Return the only split."""
        return [SPLIT]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """Describe the tasks. Raises `UnknownName`."""
        if split != SPLIT:
            raise UnknownName("split", str(split), [SPLIT])
        return self.sessions.offer.summaries

    def num_tasks(self, split: str) -> int:
        """Return the number of tasks. Raises `UnknownName`."""
        return len(self.list_tasks(split))

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Describe a task by its number, which `reset` takes too. Raises `UsageError`."""
        tasks = self.list_tasks(split)
        if not isinstance(index, int) or not 0 <= index < len(tasks):
            raise UsageError(f"there are tasks 0 to {len(tasks) - 1}; {index!r} is none of them")
        return tasks[index]

    def close(self) -> None:
        """End the episode: in the event loop, from a thread."""
        if self._loop is not None and self.session is not None:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CLOSE_S)

    async def _end(self) -> None:
        session, self.session = self.session, None
        if session is not None and session in self.sessions.live:
            await self.sessions.close(session.handle, "its connection has ended")


def observation_of(session: Session, turn: Turn) -> KernelObservation:
    """Return a turn as an observation."""
    return KernelObservation(
        text=turn.text,
        episode=session.rollout.id,
        error=turn.error,
        over=turn.over,
        images=list(turn.images),
        reward=turn.reward,
        done=bool(turn.over),
    )


# ── connections ───────────────────────────────────────────────────────────────────────────

GONE: ContextVar[asyncio.Event] = ContextVar("GONE")
"""Set when the client of the connection that is served has gone."""


def noticing(app: App) -> App:
    """Return an application that notices at once that a client has gone.

    OpenEnv reads a connection only between two steps. Requests that would begin an environment for
    themselves are refused.
    """

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in STATELESS:
            reason = f"{scope['path']} keeps no episode; connect to the WebSocket /ws"
            await drain(receive)
            return await refuse(Refusal(status=HTTPStatus.GONE, reason=reason), send, "http")
        if scope["type"] != "websocket":
            return await app(scope, receive, send)
        messages: asyncio.Queue[Message] = asyncio.Queue()
        gone = asyncio.Event()
        GONE.set(gone)

        async def read() -> None:
            while not gone.is_set():
                message = await receive()
                if message["type"] == "websocket.disconnect" or messages.qsize() > MAX_WAITING:
                    gone.set()
                await messages.put(message)

        reading = asyncio.create_task(read())
        try:
            return await app(scope, messages.get, send)
        finally:
            reading.cancel()

    return answer


async def while_connected(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work; cancel it if the client goes away."""
    task, gone = asyncio.create_task(work), asyncio.create_task(GONE.get().wait())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    finally:
        gone.cancel()


def serve_http(
    sessions: Sessions, access: Access, port: int = 0
) -> AbstractAsyncContextManager[str]:
    """Serve until the block is left; yield the address. Raises `UsageError` for the port."""
    app = create_app(
        partial(KernelServer, sessions),
        KernelAction,
        KernelObservation,
        env_name="kernel_env",
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=sessions.limits.sessions,
            session_timeout=sessions.limits.idle_s,
        ),
    )
    return serve_app(noticing(app), access, port)
