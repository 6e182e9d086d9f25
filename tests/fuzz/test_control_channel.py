"""Whatever a forked process sends, a request ends with a response or a `KernelError`."""

import asyncio
import json
import socket
from contextlib import suppress

from kernel_env.errors import KernelError
from kernel_env.kernel.connection.control_channel import ControlChannel
from support.fuzz import damaged, json_value, random_sources


async def test_a_request_ends_in_a_known_way() -> None:
    for source in random_sources():
        ours, theirs = socket.socketpair()
        channel = ControlChannel(ours)
        lines = [
            json.dumps({"id": source.choice([1, 0, "1", True]), "a": json_value(source)}).encode()
            for _ in range(source.randrange(1, 9))
        ]
        data = b"\n".join(lines) + source.choice([b"\n", b""])
        if source.random() < 0.7:
            data = damaged(source, data)

        theirs.setblocking(False)
        theirs.send(data[: 1 << 16])
        theirs.shutdown(socket.SHUT_WR)
        response = None
        with suppress(KernelError):
            response = await asyncio.wait_for(channel.request("probe", timeout_s=1), 5)
        channel.close()
        theirs.close()

        assert response is None or response["id"] == 1, f"seed {source.seed_used}"  # type: ignore[attr-defined]
