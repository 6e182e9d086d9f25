"""Run programs in plain Jupyter: nbclient, and a plain ipykernel in the same kind of sandbox.

The kernel has nothing of ours but the sockets, which the host binds. Each program gets a new
kernel; while it runs, the next one starts in a second sandbox.
"""

import asyncio
import hashlib
import json
import secrets
import shutil
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient import NotebookClient

from kernel_env import plugins, temporary
from kernel_env.errors import SandboxError
from kernel_env.kernel.connection.launch import CHANNELS, connection_info, listening
from kernel_env.sandbox.protocol import Process, Sandbox, Spec
from support.semantics.compare import CHANCE, Outputs, comparable
from support.semantics.program import Program

CELL_S = 60
READY_S = 60
PLAIN_KERNEL = """
import json, sys
given = json.loads(sys.argv[1])
sys.argv = ["ipykernel_launcher.py", "-f", "kernel.json"]
del sys.path[0]  # as ipykernel_launcher does; IPython adds it again
import zmq
from ipykernel import heartbeat, kernelapp

def bind(socket, address, port):
    socket.setsockopt(zmq.USE_FD, given["sockets"][port - 1])
    socket.bind(f"ipc://{address}-{port}")
    return port

class PlainApp(kernelapp.IPKernelApp):
    def init_connection_file(self): self.load_connection_info(given["info"])
    def write_connection_file(self, **options): pass
    def _try_bind_socket(self, socket, port): return bind(socket, self.ip, port)

class PlainHeartbeat(heartbeat.Heartbeat):
    def _try_bind_socket(self): bind(self.socket, self.ip, self.port)

kernelapp.Heartbeat = PlainHeartbeat
app = PlainApp.instance()
app.initialize([])
app.start()
"""
"""Python source of a program that serves as a plain ipykernel on inherited sockets."""

LIST_LIBRARIES = """
import importlib.metadata as m, sys
print(sys.version, *sorted((d.name, d.version) for d in m.distributions()))
"""
FIND = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if not u.find_spec(n)])"
"""Python source: prints which of its arguments are not modules."""


def root_of(sandbox: Sandbox) -> Path | None:
    """Return the folder of a sandbox without a file system of its own; None for a container."""
    return getattr(sandbox, "_root", None)


class PlainKernel:
    """A plain kernel in a sandbox, connected to a client."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._folder = temporary.folder()
        self._process: Process | None = None
        self._client = AsyncKernelClient()

    async def start(self) -> None:
        """Start it in empty folders and wait until it is ready."""
        await self.sandbox.clean_up(workspace=True)
        info = connection_info(self._folder, secrets.token_hex(16))
        given = {
            "info": {**info, "ip": "kernel"},
            "sockets": list(range(3, 3 + len(CHANNELS))),
        }
        with listening(self._folder) as descriptors:
            self._process = await self.sandbox.spawn(
                [self.sandbox.python, "-c", PLAIN_KERNEL, json.dumps(given)],
                env={"PYDEVD_DISABLE_FILE_VALIDATION": "1", "MPLCONFIGDIR": self._font_cache()},
                descriptors=descriptors,
            )
        self._client.load_connection_info(info)
        self._client.start_channels(stdin=False, hb=False)
        try:
            await asyncio.wait_for(self._ready(), READY_S)
        except BaseException:
            await self.close()
            raise

    def _font_cache(self) -> str:
        """Return a folder that the next kernel finds again: its cache of fonts takes seconds."""
        return f"{root_of(self.sandbox) or '/dev/shm'}/matplotlib"

    async def _ready(self) -> None:
        assert self._process is not None
        while True:
            self._client.kernel_info()
            if await self._client.iopub_channel.socket.poll(500):
                await self._client.get_shell_msg()
                return
            if self._process.exit_code is not None:
                raise SandboxError(f"the plain kernel ended: {self._process.tail()}")

    async def run(self, cells: tuple[str, ...]) -> list[Outputs]:
        """Run cells with nbclient; returns the outputs of each."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        client = NotebookClient(notebook, allow_errors=True, timeout=CELL_S)
        client.kc = self._client
        client.reset_execution_trackers()
        replies = []
        client.on_cell_executed = lambda execute_reply, **_: replies.append(execute_reply)
        outputs: list[Outputs] = []
        for number, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, number)
            outputs.append([*json.loads(json.dumps(cell.outputs)), *payloads(replies[-1])])
        return outputs

    async def close(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._client.context.destroy(linger=0)
        if self._process is not None:
            with suppress(SandboxError):
                await self._process.signal(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)


def payloads(reply: dict[str, Any]) -> Outputs:
    """Return what a cell showed in the pager or put into the next input, as displays.

    Front ends show both, nbclient neither.
    """
    shown = {
        "page": lambda part: part["data"],
        "set_next_input": lambda part: {"text/plain": part["text"]},
    }
    return [
        {"output_type": "display_data", "data": shown[part["source"]](part), "metadata": {}}
        for part in reply["content"].get("payload") or []
        if part.get("source") in shown
    ]


class Oracle:
    """Plain kernels in sandboxes of one kind, and what each program returned in one.

    `known` holds the outputs by digest of all they depend on, so that it can be kept for later.
    """

    def __init__(self, sandbox: str, spec: Spec, known: dict[str, list[Outputs]]) -> None:
        make = plugins.find("sandbox", sandbox)
        self.known = known
        self._sandboxes: list[Sandbox] = [make(spec), make(spec)]
        self._stack = AsyncExitStack()
        self._next: asyncio.Task[PlainKernel] | None = None
        self._libraries = ""

    async def __aenter__(self) -> "Oracle":
        for sandbox in self._sandboxes:
            await self._stack.enter_async_context(sandbox)
        self._libraries = await self._print(LIST_LIBRARIES)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._next is not None:
                with suppress(SandboxError, TimeoutError):
                    await (await self._next).close()
        finally:
            await self._stack.aclose()

    async def missing(self, needs: tuple[str, ...]) -> str:
        """Return the modules that the sandbox lacks, as text."""
        return await self._print(FIND, *needs) if needs else ""

    async def _print(self, code: str, *arguments: str) -> str:
        sandbox = self._sandboxes[0]
        done = await sandbox.run([sandbox.python, "-c", code, *arguments], timeout_s=READY_S)
        return done.output.decode().strip()

    async def _start(self) -> PlainKernel:
        sandbox = self._sandboxes.pop(0)
        self._sandboxes.append(sandbox)
        kernel = PlainKernel(sandbox)
        await kernel.start()
        return kernel

    async def outputs(self, program: Program) -> list[Outputs]:
        """Return the outputs of each cell of a program, without what differs by chance."""
        facts = (program.cells, program.masks, PLAIN_KERNEL, CHANCE, self._libraries)
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()
        if digest not in self.known:
            kernel = await (self._next or self._start())
            self._next = asyncio.create_task(self._start())
            try:
                outputs = await kernel.run(program.cells)
            finally:
                await kernel.close()
            root = root_of(kernel.sandbox)
            self.known[digest] = [comparable(each, program, root) for each in outputs]
        return self.known[digest]
