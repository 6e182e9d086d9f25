"""Output caps beside the limits of the host, and in a fork of the kernel."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel_env.kernel import KernelClient
from kernel_env.kernel.connection.launch import PROGRAM_FOLDER
from kernel_env.kernel.connection.outputs import ERROR_BYTES, HEAD_BYTES, TAIL_BYTES
from kernel_env.kernel.connection.running_cell import RunningCell, cell_of
from kernel_env.kernel.guest import truncate
from support.output_caps import (
    MB,
    resident_bytes,
    stream_text,
    utf8_size,
)


def test_caps_are_within_the_limits_of_the_host() -> None:
    notes = 10 * len("\n[… 1,000,000,000,000 bytes of stdout left out …]\n".encode())

    assert truncate.HEAD_BYTES + 2 * truncate.TAIL_BYTES + notes < HEAD_BYTES + TAIL_BYTES
    assert truncate.FIELD_CHARS + 100 < ERROR_BYTES


@pytest.mark.parametrize(
    "dropped", [None, 7, [], {"stdout": -5}, {"stdout": "9"}, {"stdout": 1.5, "display": True}]
)
def test_invalid_dropped_counts_are_ignored(dropped: object) -> None:
    cell = RunningCell("id", 0, reply={"kernel_env": {"dropped": dropped}})

    value = cell_of(cell, (), dropped_bytes=0, seconds=0, timed_out=False, broke=None)

    assert value.dropped_bytes == 0


async def test_blocked_host_misses_no_output(kernel: KernelClient) -> None:
    running = asyncio.create_task(
        kernel.run(
            "for n in range(2_000): print(n, flush=True)\n"
            "for n in range(90): print(n); display(n)\n",
            timeout_s=20,
        )
    )
    await asyncio.sleep(0.05)
    time.sleep(1)  # blocks the loop that reads

    cell = await running

    assert stream_text(cell) == "".join(f"{n}\n" for n in (*range(2_000), *range(90)))
    assert sum(output["output_type"] == "display_data" for output in cell.outputs) == 90
    assert cell.dropped_bytes == 0


async def test_kernel_without_caps_does_not_fill_the_host(kernel: KernelClient) -> None:
    host_before = resident_bytes()

    cell = await kernel.run(
        "k = get_ipython().kernel\n"
        "for n in range(60):\n"
        "    content = {'name': 'stdout', 'text': 'x' * 8_000_000}\n"
        "    k.output_caps._session_send(k.iopub_socket, 'stream', content, k.get_parent())",
        timeout_s=30,
    )

    assert utf8_size(stream_text(cell)) < HEAD_BYTES + TAIL_BYTES + 100
    assert resident_bytes() - host_before < 350 * MB


FORK_PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import zmq
from ipykernel.iostream import IOPubThread
from jupyter_client.session import Session
from guest.output_stream import CappedStream

session = Session()
def connect():
    context = zmq.Context()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    reader.subscribe(b"")
    publisher.bind("inproc://iopub")
    reader.connect("inproc://iopub")
    thread = IOPubThread(publisher)
    thread.start()
    return thread, reader

def received_text(reader):
    text = ""
    while reader.poll(300):
        parts = reader.recv_multipart()
        _, rest = session.feed_identities(parts)
        text += session.deserialize(rest)["content"]["text"]
    return text

connections = [connect()]
stream = CappedStream(session, connections[0][0], "stdout")
stream.write("x" * 100_000)
os.system("echo parent")
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    stream.end_cell()
    text = received_text(connections[0][1])
    assert text.endswith("parent\\n"), text[-50:]
    assert "child" not in text
    os._exit(status >> 8)
try:
    connections.append(connect())
    stream.reconnect(connections[1][0])
    session.pid = os.getpid()
    stream.begin_cell()
    stream.write("child\\n")
    os.system("echo program")
    stream.write("y" * 100_000)
    left_out = stream.end_cell()
    text = received_text(connections[1][1])
    assert text.startswith("child\\nprogram\\nyyy"), text[:50]
    assert left_out == 100_014 - 80 * 1024, left_out
    os._exit(0)
except BaseException as error:
    os.write(2, repr(error).encode())
    os._exit(1)
"""


def test_fork_sends_its_own_output_once_reconnected(tmp_path: Path) -> None:
    program = tmp_path / "forked.py"
    program.write_text(FORK_PROGRAM)

    done = subprocess.run(
        [sys.executable, program, PROGRAM_FOLDER.parent], env={}, capture_output=True, timeout=60
    )

    assert done.returncode == 0, done.stderr.decode()
