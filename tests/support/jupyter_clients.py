"""Serve sealed kernels and talk to them as Jupyter programs do."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from kernel_env.jupyter.live_kernel import Branches
from kernel_env.jupyter.sealed_kernel import KernelConfig, SealedKernel
from support.kernelspecs import REPLY_S


@dataclass
class Ran:
    """What a client got for a cell."""

    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Kind and content of each message of the iopub channel, without states."""
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return streams, results and errors as text."""
        return "".join(self._texts())

    def _texts(self) -> Iterator[str]:
        for _, content in self.messages:
            yield content.get("text") or content.get("data", {}).get("text/plain", "")
            yield "\n".join(content.get("traceback", []))


@asynccontextmanager
async def sealed_kernel(sandbox: str, **config: Any) -> AsyncIterator[SealedKernel]:
    """Start a sealed kernel with its server, and end it on leaving."""

    async def ignore(restart: bool) -> None:
        pass

    sealed = await SealedKernel.start(
        KernelConfig(sandbox=sandbox, **config), shut_down=ignore, branches=Branches()
    )
    try:
        yield sealed
    finally:
        await sealed.close()


@asynccontextmanager
async def client_at(connection_file: Path) -> AsyncIterator[AsyncKernelClient]:
    """Connect to a kernel by its connection file."""
    client = AsyncKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels(stdin=False, hb=False)
    try:
        await client.wait_for_ready(timeout=REPLY_S)
        yield client
    finally:
        client.stop_channels()


async def run(client: AsyncKernelClient, code: str, **options: Any) -> Ran:
    """Run a cell, whether or not it fails."""
    ran = Ran()

    def take(message: Any) -> None:
        if message["msg_type"] not in ("status", "execute_input"):
            ran.messages.append((message["msg_type"], message["content"]))

    reply = await client.execute_interactive(
        code, allow_stdin=False, timeout=REPLY_S, output_hook=take, **options
    )
    ran.reply = reply["content"]
    return ran
