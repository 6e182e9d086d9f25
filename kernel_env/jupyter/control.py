"""Send a request to the control socket of a kernel that another program serves."""

import asyncio
from collections.abc import Mapping
from typing import Any

import zmq
from jupyter_client.session import Session

REPLY_MS = 10_000
"""Time limit for the reply."""


async def send_to_control(
    info: Mapping[str, Any], kind: str, content: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Send a request and return the content of the reply; None if there is none in time."""
    return await asyncio.to_thread(_send, info, kind, dict(content))


def _send(info: Mapping[str, Any], kind: str, content: dict[str, Any]) -> dict[str, Any] | None:
    session = Session(key=str(info["key"]).encode())
    scheme, colon = ("tcp", ":") if info["transport"] == "tcp" else ("ipc", "-")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"{scheme}://{info['ip']}{colon}{info['control_port']}")
        session.send(socket, kind, content)
        if not socket.poll(REPLY_MS):
            return None
        _, parts = session.feed_identities(socket.recv_multipart())
        reply: dict[str, Any] = session.deserialize(parts)["content"]
        return reply
