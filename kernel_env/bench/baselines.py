"""What we are measured against: plain kernels, as any Jupyter program starts and uses them."""

import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from kernel_env import temporary
from kernel_env.kernel.connection.launch import (
    CHANNELS,
    KERNEL_ENVIRONMENT,
    PROGRAM,
    Launched,
    connection_info,
    listening,
)
from kernel_env.sandbox.protocol import Sandbox

PLAIN = """
import json, sys
from ipykernel.ipkernel import IPythonKernel
from guest.kernel_app import App
given = json.loads(sys.argv[1])
app = App.instance(kernel_class=IPythonKernel)
app.adopt(given["key"], given["sockets"])
app.initialize(["--HistoryManager.enabled=False"])
app.start()
"""
"""A plain ipykernel that serves on our sockets: ours is the way to it alone, not what it does."""


@contextmanager
def bare_kernel() -> Iterator[BlockingKernelClient]:
    """A plain local kernel over ipc, as any Jupyter program would start it."""
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        manager = KernelManager(transport="ipc", ip=f"{folder}/s")
        manager.start_kernel()
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=60)
            yield client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def bare_run(client: BlockingKernelClient, code: str, *, timeout_s: float) -> list[dict[str, Any]]:
    """What any client has to do for one cell: send it, and wait for the reply and for idle.

    The outputs, all of them, as a notebook would keep them.
    """
    asked = client.execute(code, store_history=True)
    said = []
    while True:
        message = client.get_iopub_msg(timeout=timeout_s)
        if message["parent_header"].get("msg_id") != asked:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
        said.append(message["content"])
    while client.get_shell_msg(timeout=timeout_s)["parent_header"].get("msg_id") != asked:
        pass
    return said


@asynccontextmanager
async def plain_kernel(box: Sandbox) -> AsyncIterator[Launched]:
    """A plain ipykernel in a box, without caps; a client may connect to it."""
    folder, key = temporary.folder(), secrets.token_hex(16)
    given = {"key": key, "sockets": list(range(3, 3 + len(CHANNELS)))}
    with listening(folder) as descriptors:
        process = await box.spawn(
            [box.python, "-P", "-c", PLAIN, json.dumps(given)],
            env={"PYTHONPATH": str(box.where(PROGRAM).parent), **KERNEL_ENVIRONMENT},
            descriptors=descriptors,
        )
    info = connection_info(folder, key)
    launched = Launched(connection_info=info, process=process, folder=folder)
    try:
        yield launched
    finally:
        launched.forget()
