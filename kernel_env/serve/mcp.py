"""Serve episodes to agents by the Model Context Protocol (MCP), over stdio or streamable HTTP.

The protocol has no sessions since 2026-07-28, so an episode has a handle, which each tool takes.
While a cell runs, the client gets reports of its time; if it cancels, the cell is interrupted. What
an agent did wrong is the text of a result with `is_error`. Programs find reward and ending in the
result's `_meta`, where models do not read them.

The extra `mcp` has the package, whose names of version 2 are used: `mcp>=2.1,<3`.
"""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ValidationError

from kernel_env.episode import json_codec
from kernel_env.episode.observation import score_text
from kernel_env.errors import KernelEnvError, UnknownName
from kernel_env.rollouts import Turn
from kernel_env.serve.access import Access
from kernel_env.serve.asgi import serve_app
from kernel_env.serve.requests import CloseEpisode, ForkEpisode, ListTasks, OpenEpisode, fault_of
from kernel_env.serve.sessions import Session, Sessions
from kernel_env.untrusted_text import escape_line

T = TypeVar("T")
PROGRESS_S = 1.0
"""The interval between two reports on a running cell."""
PATH = "/mcp"
"""Where the server answers over HTTP."""
META = "kernel-env/turn"
"""The name in a result's `_meta` of what programs need."""
HANDLE = {"type": "string", "description": "The handle that open_episode or fork_episode returned."}
INSTRUCTIONS = (
    "Machine-learning tasks, each solved in a persistent Jupyter kernel inside a sealed container."
    " list_tasks, then open_episode: its result has the task and a handle, which every other tool"
    " takes. execute_code runs a cell; whenever the submission file has changed it is graded."
    " close_episode when you are done."
)
REQUESTS: dict[str, type[BaseModel]] = {
    "list_tasks": ListTasks,
    "open_episode": OpenEpisode,
    "fork_episode": ForkEpisode,
    "close_episode": CloseEpisode,
}
"""The tools beside an agent's actions."""
WITHOUT_HANDLE = ("list_tasks", "open_episode")


def tools() -> list[types.Tool]:
    """Return the tools: the actions of an agent, and those that open, copy and end episodes."""
    schemas = json_codec.schemas() | {
        name: {"description": request.__doc__, "parameters": request.model_json_schema()}
        for name, request in REQUESTS.items()
    }
    return [tool(name, schema) for name, schema in schemas.items()]


def tool(name: str, schema: dict[str, Any]) -> types.Tool:
    """Return a tool; its arguments begin with the handle of an episode, if it acts on one."""
    given: dict[str, Any] = schema["parameters"]
    properties = {
        key: {word: value for word, value in field.items() if word != "title"}
        for key, field in given.get("properties", {}).items()
    }
    required = list(given.get("required", []))
    if name not in WITHOUT_HANDLE:
        properties, required = {"episode": HANDLE, **properties}, ["episode", *required]
    return types.Tool(
        name=name,
        description=schema["description"],
        input_schema={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    )


class Tools:
    """The tools of a server, carried out."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.known = tools()
        self.names = [each.name for each in self.known]

    async def list_tools(self, context: Any, params: Any) -> types.ListToolsResult:  # noqa: ARG002
        """Answer which tools there are."""
        return types.ListToolsResult(tools=self.known)

    async def call_tool(
        self, context: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Carry out a tool. What its caller has to know is in the result, errors too."""
        try:
            call = self._call(params.name, dict(params.arguments or {}))
            return await reporting(call, context.session, params.name)
        except ValidationError as error:
            return failure(f"{params.name}: {fault_of(error)}")
        except KernelEnvError as error:
            return failure(str(error))

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        if name not in self.names:
            raise UnknownName("tool", name, self.names)
        if name in WITHOUT_HANDLE:
            if name == "list_tasks":
                ListTasks.model_validate(arguments)
                return text_result(await asyncio.to_thread(self._task_lines))
            opening = OpenEpisode.model_validate(arguments)
            session = await self.sessions.open(
                opening.task, seed=opening.seed, budget=opening.budget
            )
            return opened([session])
        handle = str(arguments.pop("episode", ""))
        session = self.sessions.find(handle)
        match name:
            case "fork_episode":
                fork = ForkEpisode.model_validate(arguments)
                return opened(
                    await self.sessions.fork(
                        handle, fork.n, at_step=fork.at_step, reseed=fork.reseed
                    )
                )
            case "close_episode":
                CloseEpisode.model_validate(arguments)
                await self.sessions.close(handle)
                return closed(session)
        return acted(session, await self.sessions.call(handle, name, arguments))

    def _task_lines(self) -> str:
        rows = self.sessions.offer.summaries
        return "\n".join(
            escape_line(f"{row['task']}: {row['summary']} ({row['kind']}, {row['metric']})")
            for row in rows
        )


async def reporting(call: Coroutine[Any, Any, T], session: Any, name: str) -> T:
    """Return the result of a call; tell the client for how long it has run, once a second."""
    task, began = asyncio.create_task(call), time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=PROGRESS_S)
            if done:
                return task.result()
            seconds = round(time.monotonic() - began, 1)
            await session.report_progress(seconds, None, f"{name} has run for {seconds:.0f} s")
    except asyncio.CancelledError:
        task.cancel()
        raise


# ── results ───────────────────────────────────────────────────────────────────────────────


def text_result(text: str, **meta: Any) -> types.CallToolResult:
    """Return a result that is a text."""
    content: list[Any] = [types.TextContent(text=text)]
    return types.CallToolResult(content=content, _meta={META: meta} if meta else None)


def failure(reason: str) -> types.CallToolResult:
    """Return a result that says what the agent or its operator has to change."""
    content: list[Any] = [types.TextContent(text=f"error: {reason}")]
    return types.CallToolResult(content=content, is_error=True)


def opened(sessions: list[Session]) -> types.CallToolResult:
    """Return what an agent reads of episodes that were opened: handles, and the prompt once."""
    handles = "\n".join(f"episode: {session.handle}" for session in sessions)
    text = f"{handles}\n\n{sessions[0].rollout.prompt}"
    return text_result(text, episodes=[{"episode": s.handle, "id": s.rollout.id} for s in sessions])


def acted(session: Session, turn: Turn) -> types.CallToolResult:
    """Return what an agent reads of an action: text, and pictures."""
    said = not turn.over or turn.over in turn.text
    over = "" if said else f"\n[the episode is over: {escape_line(turn.over)}]"
    content: list[Any] = [types.TextContent(text=f"{turn.text}{over}")]
    content += [
        types.ImageContent(data="".join(image.split()), mime_type="image/png")
        for image in turn.images
    ]
    meta = {
        "id": session.rollout.id,
        "reward": turn.reward,
        "over": turn.over,
        "error": turn.error,
    }
    return types.CallToolResult(content=content, is_error=bool(turn.error), _meta={META: meta})


def closed(session: Session) -> types.CallToolResult:
    """Return what an agent reads of an episode that it ended; no private score is in it."""
    rollout = session.rollout
    best = rollout.episode.progress.shown
    score = (
        f"the best public score shown was {score_text(best.score)}"
        if best
        else "no score was shown"
    )
    steps = len(rollout.episode.steps)
    return text_result(
        f"The episode has ended after {steps} steps; {score}.", id=rollout.id, reward=rollout.reward
    )


# ── transports ────────────────────────────────────────────────────────────────────────────


def make_server(sessions: Sessions) -> Server[Any]:
    """Return a server without a transport."""
    own = Tools(sessions)
    return Server(
        "kernel-env",
        version=version("kernel-env"),
        instructions=INSTRUCTIONS,
        on_list_tools=own.list_tools,
        on_call_tool=own.call_tool,
    )


async def serve_stdio(sessions: Sessions) -> None:
    """Serve over standard input and output until the client closes them."""
    server = make_server(sessions)
    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())


def serve_http(
    sessions: Sessions, access: Access, port: int = 0
) -> AbstractAsyncContextManager[str]:
    """Serve over HTTP until the block is left; yield the address, below which `PATH` answers.

    Raises `UsageError` for the port.
    """
    app = make_server(sessions).streamable_http_app(
        streamable_http_path=PATH,
        host=access.host,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return serve_app(app, access, port)
