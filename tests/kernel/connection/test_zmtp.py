"""A connection without ZeroMQ's library understands ZeroMQ's library, and nothing hostile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.kernel.connection import zmtp
from kernel_env.kernel.connection.zmtp import GREETING, MESSAGE_BYTES, MORE, MessageReader, frame
from kernel_env.sandbox.pacing import loop_share

HANDSHAKE = GREETING + zmtp.ready("DEALER")


def read(data: bytes, piece: int = 1 << 20) -> list[list[bytes]]:
    """Return the messages in bytes that arrive in pieces."""
    reader = MessageReader()
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    return [message for part in pieces for message in reader.feed(part)]


def written(message: list[bytes]) -> bytes:
    """Return the frames of a message."""
    return b"".join([*(frame(part, MORE) for part in message[:-1]), frame(message[-1])])


MESSAGES = st.lists(
    st.lists(st.binary(max_size=40) | st.just(b"x" * 300), min_size=1, max_size=4), max_size=5
)


@given(MESSAGES, st.integers(1, 50))
def test_messages_are_read_however_they_are_cut(messages: list[list[bytes]], piece: int) -> None:
    assert read(HANDSHAKE + b"".join(map(written, messages)), piece) == messages


@pytest.mark.parametrize(
    "large",
    [
        [b"x" * (MESSAGE_BYTES + 1)],
        [b"x" * (MESSAGE_BYTES // 2)] * 3,
        [b""] * (zmtp.MAX_PARTS + 1),
        [b""] * 5000,
    ],
    ids=["one part", "three parts", "many parts", "very many parts"],
)
def test_a_message_that_is_too_large_is_dropped(large: list[bytes]) -> None:
    data = HANDSHAKE + written([b"a"]) + written(large) + written([b"b", b""])

    assert read(data) == [[b"a"], [b"b", b""]]
    assert read(data, 30_011) == [[b"a"], [b"b", b""]]


@pytest.mark.parametrize(
    "data",
    [b"x" * 64, GREETING[:10] + b"\x01" * 54, HANDSHAKE + b"\x08\x00", HANDSHAKE + b"\x02" * 9],
    ids=["no greeting", "an old version", "unknown flags", "a frame of petabytes"],
)
def test_what_is_not_the_protocol_is_noticed(data: bytes) -> None:
    with pytest.raises(zmtp.ProtocolViolation):
        read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    try:
        read(HANDSHAKE + data)
    except zmtp.ProtocolViolation:
        return


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """ZeroMQ's own library."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


async def received(from_socket: zmq.Socket[bytes]) -> list[bytes]:
    """Receive a message with ZeroMQ's own library."""
    assert await asyncio.to_thread(from_socket.poll, 5000)
    return from_socket.recv_multipart()


async def test_messages_are_exchanged_with_a_router(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{tmp_path}/s")
    taken: asyncio.Queue[list[bytes]] = asyncio.Queue()
    closed = asyncio.Event()
    connection = zmtp.Connection(
        f"{tmp_path}/s", "DEALER", taken.put_nowait, closed.set, loop_share()
    )
    message = [b"a", b"", b"x" * 3_000_000]

    connection.send(message)
    identity, *arrived = await received(router)
    router.send_multipart([identity, *arrived])
    returned = await asyncio.wait_for(taken.get(), 5)
    router.close(linger=0)
    await asyncio.wait_for(closed.wait(), 5)

    assert arrived == returned == message
    with pytest.raises(OSError, match="closed"):
        connection.send(message)


async def test_published_messages_arrive(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    publisher = context.socket(zmq.XPUB)
    publisher.bind(f"ipc://{tmp_path}/s")
    taken: asyncio.Queue[list[bytes]] = asyncio.Queue()
    connection = zmtp.Connection(
        f"{tmp_path}/s", "SUB", taken.put_nowait, lambda: None, loop_share()
    )

    connection.subscribe()
    subscription = await received(publisher)
    publisher.send_multipart([b"topic", b"content"])
    published = await asyncio.wait_for(taken.get(), 5)
    connection.close()
    publisher.close(linger=0)

    assert subscription == [b"\x01"]
    assert published == [b"topic", b"content"]


async def test_a_socket_that_nobody_listens_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        zmtp.Connection(f"{tmp_path}/s", "SUB", lambda _: None, lambda: None, loop_share())
