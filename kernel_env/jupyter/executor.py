"""Define what a server for Jupyter clients needs: something that executes cells, one at a time.

    server = Server(executor, commands={"submit": submit}, connection_file=path)
    await server.start()   # clients connect with the connection file
    …
    await server.close()

The server owns sockets and messages, the executor owns the kernel. An executor passes
`output.observe` to whatever runs the cell, so that clients see its outputs as they arrive, and
returns `output.reply(cell)`:

    async def execute(self, request: CellRequest, output: CellOutput) -> Mapping[str, Any]:
        cell = await self._kernel.run(request.code, timeout_s=60, observe=output.observe)
        return output.reply(cell)

Commands are magics that run on the host and not in the kernel. A cell that consists of the line
`%submit final` calls `commands["submit"]("final")` between two cells. What it returns is displayed:
a text, or a MIME bundle. A `KernelEnvError` that it raises becomes the cell's error.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kernel_env.jupyter.cell_output import CellOutput
from kernel_env.kernel.connection.client import KernelClient

Command = Callable[[str], Awaitable[str | Mapping[str, Any]]]
"""A magic that runs on the host: takes the rest of its line, returns a text or a MIME bundle."""


@dataclass(frozen=True, kw_only=True)
class CellRequest:
    """A cell that a client wants to be executed."""

    code: str
    silent: bool = False
    """Whether it is not counted, not in the kernel's history, and not shown to other clients."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """`store_history` and `user_expressions` of the request, for `KernelClient.run`."""


class Executor(Protocol):
    """Executes cells for Jupyter clients. All calls come from the server's event loop."""

    @property
    def kernel(self) -> KernelClient | None:
        """Return the connection to the running kernel, for completions, history and widgets.

        None while there is none.
        """

    async def execute(self, request: CellRequest, output: CellOutput) -> Mapping[str, Any]:
        """Execute a cell and return the content of its `execute_reply`.

        The server calls it again only after it has returned. It is cancelled if the server is
        closed. A `KernelEnvError` becomes the cell's error.
        """

    async def interrupt(self) -> None:
        """Interrupt the running cell, if one runs."""

    async def shutdown(self, *, restart: bool) -> None:
        """Handle a client's wish to end the kernel, or to restart it."""
