"""The host's end of a control channel keeps its time limit, whatever the other end sends."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kernel_env.errors import KernelError
from kernel_env.kernel.connection.control_channel import RESPONSE_BYTES, ControlChannel
from support.heartbeat import BUSY_S, PAUSE_S, Heartbeat


@contextmanager
def channel_and_peer(serve: Callable[[socket.socket], None]) -> Iterator[ControlChannel]:
    """Open a channel whose other end is served by a thread until the channel is closed."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with suppress(OSError):  # the channel was closed
            serve(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    channel = ControlChannel(ours)
    try:
        yield channel
    finally:
        channel.close()
        thread.join()
        theirs.close()


def send_without_end(data: bytes) -> Callable[[socket.socket], None]:
    """Return a peer that sends the same without end."""

    def serve(theirs: socket.socket) -> None:
        while True:
            theirs.sendall(data)

    return serve


FLOODS = {
    "aligned lines that are no response": b"{ }\n" * (RESPONSE_BYTES // 4),
    "responses to another request": b'{"id": 99}\n' * 1000,
    "empty lines": b"\n" * RESPONSE_BYTES,
    "a line without end": b" " * RESPONSE_BYTES,
    "deep nesting": b'{"id": ' + b"[" * 30_000 + b"\n",
    "a long number": b'{"id": ' + b"1" * 60_000 + b"}\n",
    "a long fraction": b'{"id": 0.' + b"1" * 60_000 + b"}\n",
    "many values": b'{"a": [' + b"[]," * 20_000 + b"1]}\n",
    "not UTF-8": b'{"a": "\xff"}\n',
    "numbers that JSON does not know": b'{"id": NaN, "pid": Infinity}\n' * 1000,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_keeps_the_time_limit_and_does_not_stop_the_event_loop(
    name: str, print_later: Callable[[str], None]
) -> None:
    with channel_and_peer(send_without_end(FLOODS[name])) as channel:
        async with Heartbeat() as heart:
            began = time.monotonic()
            with pytest.raises(KernelError, match=r"invalid response|did not respond"):
                await channel.request("copy", timeout_s=1)
            seconds = time.monotonic() - began

    print_later(f"{name:40} {heart}, {seconds:4.2f} s")
    assert heart.longest_s < PAUSE_S
    assert heart.busy_s < BUSY_S
    assert seconds < 2


async def test_lines_that_come_slowly_do_not_extend_the_time_limit() -> None:
    def serve(theirs: socket.socket) -> None:
        while True:
            theirs.sendall(b'{"id": 99}\n')
            time.sleep(0.05)

    with channel_and_peer(serve) as channel:
        began = time.monotonic()
        with pytest.raises(KernelError, match="did not respond"):
            await channel.request("copy", timeout_s=0.3)

    assert time.monotonic() - began < 1


async def test_late_responses_to_earlier_requests_are_skipped() -> None:
    def serve(theirs: socket.socket) -> None:
        request = json.loads(theirs.recv(4096))
        theirs.sendall(b'{"id": 0}\n{"id": -1}\n')
        theirs.sendall(json.dumps({"id": request["id"], "why": "a reason"}).encode() + b"\n")

    with channel_and_peer(serve) as channel:
        response = await asyncio.wait_for(channel.request("probe", timeout_s=5), 6)

    assert response["why"] == "a reason"
