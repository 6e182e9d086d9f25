"""Serve episodes by a small JSON protocol over HTTP, with nothing but the standard library.

    GET    /                            what this is: version, tasks, tools, limits
    POST   /episodes                    open: {"task": …, "seed": 0, "budget": {…}}
    GET    /episodes/HANDLE             the state of an episode
    POST   /episodes/HANDLE/call        act: {"name": …, "arguments": {…}}
    POST   /episodes/HANDLE/fork        fork: {"n": 1, "at_step": null, "reseed": false}
    DELETE /episodes/HANDLE             end it; its result comes back
    GET    /episodes/HANDLE/hold        an answer that ends with the episode, and the reverse

Each request has a connection and a thread of its own; the episodes live in one event loop. While a
call runs, the loop watches its connection: a client that goes away interrupts the cell.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar

from pydantic import ValidationError

from kernel_env.errors import (
    KernelEnvError,
    NoSession,
    ServerFull,
    UnknownName,
    UsageError,
)
from kernel_env.rollouts import Rollout, Turn
from kernel_env.serve.access import MAX_DRAINED_BYTES, Access, body_length
from kernel_env.serve.requests import Call, ForkEpisode, OpenEpisode, fault_of
from kernel_env.serve.sessions import Session, Sessions
from kernel_env.untrusted_text import escape_line
from kernel_env.watch.loopback import LoopbackRequest, LoopbackServer

T = TypeVar("T")
POLICY = "default-src 'none'; frame-ancestors 'none'"
SPARE_REQUESTS = 32
"""How many requests can be answered at once, beside two for each session."""
HOLD_LINE = b"\n"
"""What is written to a client that holds an episode, so that its answer begins."""


@asynccontextmanager
async def serve_http(sessions: Sessions, access: Access, port: int = 0) -> AsyncIterator[str]:
    """Serve until the block is left; yield the address. Raises `UsageError` for the port."""
    try:
        server = ApiServer(sessions, access, port)
    except OSError as error:
        raise UsageError(f"cannot listen on {access.host} port {port}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="kernel_env http", daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


class ApiServer(LoopbackServer):
    """The server, whose requests are answered in threads."""

    def __init__(self, sessions: Sessions, access: Access, port: int) -> None:
        """Listen; must be called in the event loop of the sessions. Raises `OSError`."""
        readers = 2 * sessions.limits.sessions + SPARE_REQUESTS
        super().__init__(ApiRequest, host=access.host, port=port, readers=readers)
        self.sessions, self.access = sessions, access
        self.loop = asyncio.get_running_loop()

    @property
    def address(self) -> str:
        """Return the address of the server."""
        return self.access.address(self.server_port)


class ApiRequest(LoopbackRequest):
    """One request."""

    server: ApiServer

    do_POST = do_DELETE = LoopbackRequest.do_GET  # noqa: N815 - the names of the library

    def refuse(self, status: HTTPStatus) -> None:
        """Answer that all threads are in use."""
        self.fail(status, "too many requests at once; try again")

    def _check_and_answer(self) -> None:
        refusal = self.server.access.refusal(self.headers.items())
        if refusal is not None:
            self.fail(refusal.status, refusal.reason)
            return self._drain()
        length = body_length(self.headers.get_all("Content-Length") or [])
        body = self.rfile.read(length or 0)
        try:
            return self._answer(body)
        except CancelledError:  # the client has gone, or the server ends
            return None
        except ValidationError as error:
            return self.fail(HTTPStatus.BAD_REQUEST, fault_of(error))
        except KernelEnvError as error:
            return self.fail(status_of(error), str(error))

    def _answer(self, body: bytes) -> None:
        sessions = self.server.sessions
        match [self.command, *self.path.removeprefix("/").split("/")]:
            case ["GET", ""]:
                return self.reply(describe(sessions))
            case ["POST", "episodes"]:
                opening = OpenEpisode.model_validate_json(body)
                session = self.wait(
                    sessions.open(opening.task, seed=opening.seed, budget=opening.budget)
                )
                opened = {**self.state(session), "prompt": session.rollout.prompt}
                return self.reply(opened, HTTPStatus.CREATED)
            case ["GET", "episodes", handle]:
                return self.reply(self.state(sessions.find(handle)))
            case ["POST", "episodes", handle, "call"]:
                call = Call.model_validate_json(body)
                session = sessions.find(handle)
                turn = self.wait(sessions.call(handle, call.name, call.arguments))
                return self.reply({"id": session.rollout.id, **turn_data(turn)})
            case ["POST", "episodes", handle, "fork"]:
                fork = ForkEpisode.model_validate_json(body or b"{}")
                forked = self.wait(
                    sessions.fork(handle, fork.n, at_step=fork.at_step, reseed=fork.reseed)
                )
                return self.reply({"episodes": [self.state(each) for each in forked]})
            case ["GET", "episodes", handle, "hold"]:
                sessions.find(handle)
                self.begin(HTTPStatus.OK, "text/plain", POLICY)
                self.wfile.write(HOLD_LINE)
                reason = self.wait(sessions.hold(handle))
                self.wfile.write(f"{escape_line(reason)}\n".encode())
                return None
            case ["DELETE", "episodes", handle]:
                session = self.wait(sessions.close(handle))
                return self.reply(closed(session))
        return self.fail(
            HTTPStatus.NOT_FOUND,
            f"nothing answers {escape_line(self.command)} {escape_line(self.path, 200)}; GET / says"
            " what there is",
        )

    def state(self, session: Session) -> dict[str, Any]:
        """Return what a client learns of a session."""
        rollout = session.rollout
        return {
            "episode": session.handle,
            "id": rollout.id,
            "task": session.task,
            "over": rollout.over,
            "steps": len(rollout.episode.steps),
            "idle_seconds": self.server.sessions.limits.idle_s,
        }

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the loop of the sessions; it is cancelled if the client goes away."""
        coroutine = while_connected(self.connection, work)
        return asyncio.run_coroutine_threadsafe(coroutine, self.server.loop).result()

    def reply(self, data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        self.begin(status, "application/json", POLICY)
        self.wfile.write(json.dumps(data).encode() + b"\n")

    def fail(self, status: HTTPStatus, reason: str) -> None:
        """Answer with an error in one line."""
        challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
        self.begin(status, "application/json", POLICY, challenge)
        self.wfile.write(json.dumps({"error": reason}).encode() + b"\n")

    def _drain(self) -> None:
        """Read a body that was refused, so that its sender gets to read the answer."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        left = MAX_DRAINED_BYTES
        while left > 0 and (part := self.connection.recv(min(left, 1 << 20))):
            left -= len(part)


async def while_connected(connection: socket.socket, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work; cancel it if the other side closes the connection."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def look() -> None:
        try:
            gone = not connection.recv(1, socket.MSG_PEEK)
        except OSError:
            gone = True
        loop.remove_reader(connection)
        if gone:
            task.cancel()

    loop.add_reader(connection, look)
    try:
        return await task
    finally:
        loop.remove_reader(connection)


def status_of(error: KernelEnvError) -> HTTPStatus:
    """Return the status of an error: who must act, the client or the machine's operator."""
    match error:
        case NoSession() | UnknownName():
            return HTTPStatus.NOT_FOUND
        case ServerFull():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case UsageError():
            return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def describe(sessions: Sessions) -> dict[str, Any]:
    """Return what a server offers."""
    limits = asdict(sessions.limits)
    return {
        "kernel_env": version("kernel-env"),
        "tasks": sessions.offer.summaries,
        "tools": Rollout.tools(),
        "limits": limits,
        "open": len(sessions.live),
    }


def turn_data(turn: Turn) -> dict[str, Any]:
    """Return a turn as JSON."""
    return asdict(turn)


def closed(session: Session) -> dict[str, Any]:
    """Return what a client gets for a session that it has ended: reward and result."""
    result = session.rollout.episode.result
    return {
        "id": session.rollout.id,
        "reward": session.rollout.reward,
        "result": result.json() if result else None,
    }
