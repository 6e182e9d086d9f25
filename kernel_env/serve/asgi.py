"""Serve an ASGI application, behind the checks of `access`, with uvicorn."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

from kernel_env.errors import UsageError
from kernel_env.serve.access import MAX_BODY_BYTES, MAX_DRAINED_BYTES, Access, Refusal

END_S = 2
"""Time limit at the end for answers that are being written."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@asynccontextmanager
async def serve_app(app: App, access: Access, port: int = 0) -> AsyncIterator[str]:
    """Serve until the block is left; yield the address. Raises `UsageError` for the port."""
    import uvicorn

    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, *given: Any, **named: Any) -> None:
            """Say when it has started."""
            await super().startup(*given, **named)
            started.set()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave signals to the command line."""
            yield

    host = access.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    with listening:
        config = uvicorn.Config(
            guarded(app, access),
            log_level="critical",
            access_log=False,
            ws_max_size=MAX_BODY_BYTES,
            timeout_graceful_shutdown=END_S,
        )
        server = Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        running.add_done_callback(lambda _: started.set())
        try:
            await started.wait()
            yield access.address(listening.getsockname()[1])
        finally:
            server.should_exit = True
            await running


def guarded(app: App, access: Access) -> App:
    """Return an ASGI application that answers what may be asked, and refuses the rest."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        headers = [
            (name.decode("latin-1"), text.decode("latin-1")) for name, text in scope["headers"]
        ]
        refusal = access.refusal(headers)
        if refusal is None:
            return await app(scope, receive, send)
        if scope["type"] == "http":
            await drain(receive)
            return await refuse(refusal, send, "http")
        await receive()
        if "websocket.http.response" in (scope.get("extensions") or {}):
            return await refuse(refusal, send, "websocket.http")
        return await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason})

    return answer


async def drain(receive: Receive) -> None:
    """Read a body that is refused, so that its sender gets to read the answer."""
    drained, more = 0, True
    while more and drained < MAX_DRAINED_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def refuse(refusal: Refusal, send: Send, kind: str) -> None:
    """Answer a request with the reason why it is refused."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    status = refusal.status.value
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": f"{refusal.reason}\n".encode()})
