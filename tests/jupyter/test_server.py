"""Jupyter clients see a sandboxed kernel as any other, whatever happens to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.session import Session

from kernel_env.jupyter.control import send_to_control
from kernel_env.jupyter.sealed_kernel import SealedKernel
from kernel_env.kernel.connection.client import INTERRUPT_S
from support.jupyter_clients import client_at, run, sealed_kernel
from support.kernelspecs import REPLY_S


@pytest.fixture(scope="module")
async def sealed() -> AsyncIterator[SealedKernel]:
    async with sealed_kernel("local") as kernel:
        yield kernel


@pytest.fixture(scope="module")
async def client(sealed: SealedKernel) -> AsyncIterator[AsyncKernelClient]:
    async with client_at(sealed.server.connection_file) as connected:
        yield connected


async def next_message(client: AsyncKernelClient, kind: str) -> dict[str, Any]:
    """Return the next message of a kind on the iopub channel."""
    while (message := await client.get_iopub_msg(timeout=REPLY_S))["msg_type"] != kind:
        pass
    return message


async def test_outputs_arrive_while_the_cell_runs(client: AsyncKernelClient) -> None:
    client.execute("import time; print('begun', flush=True); time.sleep(600)")
    begun = await next_message(client, "stream")

    assert begun["content"]["text"] == "begun\n"
    await send_to_control(connection_info(client), "interrupt_request", {})
    reply = await client.get_shell_msg(timeout=REPLY_S)
    assert reply["content"]["ename"] == "KeyboardInterrupt"


def connection_info(client: AsyncKernelClient) -> dict[str, Any]:
    """Return how a client is connected."""
    info = client.get_connection_info()
    return {**info, "key": info["key"].decode()}


async def until_idle(client: AsyncKernelClient, number: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the messages that belong to a request, until the kernel is idle again."""
    while True:
        message = await client.get_iopub_msg(timeout=REPLY_S)
        if message["parent_header"].get("msg_id") == number:
            yield message
            if message["content"].get("execution_state") == "idle":
                return


async def test_displays_are_updated_cleared_and_updated_by_later_cells(
    client: AsyncKernelClient,
) -> None:
    first = await run(
        client,
        "from IPython.display import display, clear_output, HTML\n"
        "handle = display(HTML('<b>1</b>'), display_id='d'); handle.update(HTML('<b>2</b>'))\n"
        "clear_output(wait=True); 6 * 7",
    )
    later = await run(client, "handle.update(HTML('<b>3</b>'))")

    kinds = [kind for kind, _ in first.messages]
    assert kinds == ["display_data", "update_display_data", "clear_output", "execute_result"]
    assert first.messages[1][1]["transient"] == {"display_id": "d"}
    assert later.messages == [
        (
            "update_display_data",
            {
                "data": {
                    "text/plain": "<IPython.core.display.HTML object>",
                    "text/html": "<b>3</b>",
                },
                "metadata": {},
                "transient": {"display_id": "d"},
            },
        )
    ]


async def test_a_cell_that_fails_aborts_those_that_wait(client: AsyncKernelClient) -> None:
    numbers = [client.execute(code) for code in ("1 / 0", "aborted = 1", "aborted = 2")]
    replies = {}
    while set(replies) != set(numbers):
        message = await client.get_shell_msg(timeout=REPLY_S)
        replies[message["parent_header"]["msg_id"]] = message["content"]["status"]
    after = await run(client, "'aborted' in dir()")

    assert list(replies.values()) == ["error", "aborted", "aborted"]
    assert after.text == "False"


async def test_a_cell_cannot_ask_for_input(client: AsyncKernelClient) -> None:
    ran = await run(client, "input('name? ')")

    assert ran.reply["ename"] == "StdinNotImplementedError"


async def test_expressions_pagers_and_silent_cells_work_as_in_jupyter(
    client: AsyncKernelClient,
) -> None:
    counted = await run(client, "x = 41", user_expressions={"next": "x + 1"})
    silent = await run(client, "x += 1; print('shown')", silent=True)
    paged = await run(client, "zip?")
    exited = await run(client, "exit")
    after = await run(client, "x")

    assert counted.reply["user_expressions"]["next"]["data"]["text/plain"] == "42"
    assert silent.text == "shown\n"
    assert [payload["source"] for payload in paged.reply["payload"]] == ["page"]
    assert "KernelRestored" in exited.text
    assert after.text == "42"


WIDGET = """
from comm import create_comm
received = []
comm = create_comm(target_name="tests", data={"at": "open"}, buffers=[b"kernel"])
@comm.on_msg
def take(message):
    received.append((message["content"]["data"], [bytes(b) for b in message["buffers"]]))
    print("handled")
    comm.send({"answer": 42})
"""


async def test_widgets_talk_both_ways_also_after_a_crash(client: AsyncKernelClient) -> None:
    client.execute(WIDGET)
    opened = await next_message(client, "comm_open")
    await client.get_shell_msg(timeout=REPLY_S)
    await run(client, "%checkpoint")  # what is replayed opens another comm
    await run(client, "import os; os._exit(1)")
    content = {"comm_id": opened["content"]["comm_id"], "data": {"at": "browser"}}

    message = client.session.msg("comm_msg", content)
    client.session.send(client.shell_channel.socket, message, buffers=[b"browser"])
    sent = [message async for message in until_idle(client, message["header"]["msg_id"])]
    received = await run(client, "received")

    assert opened["content"]["data"] == {"at": "open"}
    assert bytes(opened["buffers"][0]) == b"kernel"
    assert [m["content"]["text"] for m in sent if m["msg_type"] == "stream"] == ["handled\n"]
    assert [m["content"]["data"] for m in sent if m["msg_type"] == "comm_msg"] == [{"answer": 42}]
    assert received.text == "[({'at': 'browser'}, [b'browser'])]"


FORGED = """
import json
kernel = get_ipython().kernel
kernel.session.pack = lambda message: json.dumps(message, default=str).encode()
def send(kind, content):
    message = kernel.session.msg(kind, content, parent=kernel.get_parent())
    kernel.session.send(kernel.iopub_socket, message)
send("display_data", {"data": {"application/json": float("nan"), "text/plain": chr(0xd800)}})
send("shutdown_reply", {"restart": False})
send("status", {"execution_state": "dead"})
"""


async def test_messages_that_a_kernel_forges_arrive_valid_or_not_at_all(
    client: AsyncKernelClient,
) -> None:
    number = client.execute(FORGED)
    messages = [message async for message in until_idle(client, number)]
    await client.get_shell_msg(timeout=REPLY_S)
    after = await run(client, "1 + 1")

    kinds = [message["msg_type"] for message in messages]
    assert kinds == ["status", "execute_input", "display_data", "status"]
    assert messages[2]["content"]["data"] == {"application/json": None, "text/plain": "\\ud800"}
    assert after.text == "2"


async def test_output_of_a_thread_belongs_to_the_cell_that_started_it(
    client: AsyncKernelClient,
) -> None:
    number = client.execute(
        "import threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start()"
    )
    await client.get_shell_msg(timeout=REPLY_S)
    late = await next_message(client, "stream")

    assert late["content"]["text"].startswith("late")
    assert late["parent_header"]["msg_id"] == number


@pytest.mark.slow
async def test_a_cell_that_ignores_an_interrupt_is_ended_by_a_later_one(
    sealed: SealedKernel, client: AsyncKernelClient
) -> None:
    await run(client, "x = 41")
    client.execute(
        "import signal, time; x = 0; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('begun', flush=True); time.sleep(600)"
    )
    await next_message(client, "stream")
    await sealed.live.interrupt()
    await asyncio.sleep(INTERRUPT_S)
    await sealed.live.interrupt()
    reply = await client.get_shell_msg(timeout=REPLY_S)
    after = await run(client, "x")

    assert reply["content"]["ename"] == "KernelRestored"
    assert "ignored an interrupt" in reply["content"]["evalue"]
    assert after.text == "41"


async def test_a_restart_ends_a_running_cell(
    sealed: SealedKernel, client: AsyncKernelClient
) -> None:
    client.execute("import time; print('begun', flush=True); time.sleep(600)")
    await next_message(client, "stream")
    lost = await sealed.live.restart()
    reply = await client.get_shell_msg(timeout=REPLY_S)
    after = await run(client, "1 + 1")

    assert lost == ""
    assert reply["content"]["ename"] == "KernelRestarted"
    assert after.reply["execution_count"] == 1


async def test_only_who_has_the_key_can_connect(
    sealed: SealedKernel, client: AsyncKernelClient
) -> None:
    file = sealed.server.connection_file
    info = json.loads(file.read_text())
    forged = Session(key=b"another")
    forged.send(client.shell_channel.socket, "execute_request", {"code": "forged = 1"})
    after = await run(client, "'forged' in dir()")

    assert after.text == "False"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert info["key"] != sealed.live.kernel._info["key"]  # type: ignore[union-attr]


async def test_closing_leaves_no_file_and_no_socket() -> None:
    async with sealed_kernel("local") as kernel:
        file = kernel.server.connection_file
        assert file.exists()

    assert not file.parent.exists()
