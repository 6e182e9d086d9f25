"""Start and use plain kernels, as other Jupyter programs do: the peers of the measures."""

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

PLAIN_KERNEL = """
import json, sys
from ipykernel.ipkernel import IPythonKernel
from guest.kernel_app import App
given = json.loads(sys.argv[1])
app = App.instance(kernel_class=IPythonKernel)
app.adopt(given["key"], given["sockets"])
app.initialize(["--HistoryManager.enabled=False"])
app.start()
"""
"""A program that runs an unmodified ipykernel on inherited sockets."""


@contextmanager
def bare_kernel() -> Iterator[BlockingKernelClient]:
    """Start a kernel without a sandbox, over ipc, with jupyter_client alone."""
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


def run_cell(client: BlockingKernelClient, code: str, *, timeout_s: float) -> list[dict[str, Any]]:
    """Run a cell with jupyter_client alone and return the content of its iopub messages.

    This is the least that any client does: send the cell, then wait for idle and for the reply.
    """
    request_id = client.execute(code, store_history=True)
    outputs = []
    while True:
        message = client.get_iopub_msg(timeout=timeout_s)
        if message["parent_header"].get("msg_id") != request_id:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
        outputs.append(message["content"])
    while client.get_shell_msg(timeout=timeout_s)["parent_header"].get("msg_id") != request_id:
        pass
    return outputs


@asynccontextmanager
async def plain_kernel(sandbox: Sandbox) -> AsyncIterator[Launched]:
    """Start an unmodified ipykernel in a sandbox, without limits of its output."""
    folder, key = temporary.folder(), secrets.token_hex(16)
    arguments = {"key": key, "sockets": list(range(3, 3 + len(CHANNELS)))}
    with listening(folder) as descriptors:
        process = await sandbox.spawn(
            [sandbox.python, "-P", "-c", PLAIN_KERNEL, json.dumps(arguments)],
            env={"PYTHONPATH": str(sandbox.guest_path(PROGRAM).parent), **KERNEL_ENVIRONMENT},
            descriptors=descriptors,
        )
    info = connection_info(folder, key)
    launched = Launched(connection_info=info, process=process, folder=folder)
    try:
        yield launched
    finally:
        launched.release()
