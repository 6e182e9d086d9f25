"""Serve Jupyter clients: the kernel's side of their five sockets, in front of an executor.

    JupyterLab, nbclient, …  ◀─ shell, iopub, stdin, control, hb ─▶  Server
                                                                      │ cells, one at a time
                                                                      ▼
                                            executor ─▶ KernelClient ─▶ kernel in a sandbox

Clients keep their connections, the address and the key whatever happens to the kernel: that one is
replaced after a crash and at a restart. What a kernel sends is untrusted. It is parsed within
limits, written anew, and signed with a key that the kernel does not have.

Cells are queued; one that fails aborts those that wait, as in any kernel. Completions, history and
messages of widgets go to the running kernel at once. The kernel cannot ask for input.
"""

import asyncio
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import Session

from kernel_env import temporary
from kernel_env.errors import KernelEnvError, KernelError
from kernel_env.jupyter.cell_output import REPLY_BYTES, CellOutput, reply_content
from kernel_env.jupyter.commands import called_command
from kernel_env.jupyter.executor import CellRequest, Command, Executor
from kernel_env.jupyter.kernel_info import kernel_info
from kernel_env.kernel.connection.launch import CHANNELS, connection_info
from kernel_env.kernel.connection.messages import INVALID, Message, parsed_content
from kernel_env.kernel.connection.output_intake import BYTES_PER_S, CELL_BYTES, DISPLAY_BYTES
from kernel_env.kernel.connection.outputs import json_of, text_of
from kernel_env.sandbox.pacing import Allowance

SOCKET_TYPES = {
    "shell": zmq.ROUTER,
    "iopub": zmq.XPUB,
    "stdin": zmq.ROUTER,
    "control": zmq.ROUTER,
    "hb": zmq.ROUTER,
}
FORWARDED = (
    "comm_info_request",
    "complete_request",
    "history_request",
    "inspect_request",
    "is_complete_request",
)
"""Requests that the running kernel answers, once it runs no cell."""
COMM = ("comm_open", "comm_msg", "comm_close")
"""Messages of widgets, in both directions."""
PUBLISHED = (
    "clear_output",
    "display_data",
    "error",
    "execute_input",
    "execute_result",
    "stream",
    "update_display_data",
    *COMM,
)
"""The messages of a kernel that clients get."""
REMEMBERED_PARENTS = 1000
"""So many of the latest requests are known, for late outputs that belong to them."""
ABORT_S = 0.02
"""A cell that failed waits so long for cells that were sent with it; those are aborted, too."""
LINGER_MS = 500


class Server:
    """A server for the clients of one executor. Begin with `start`, end with `close`."""

    def __init__(
        self,
        executor: Executor,
        *,
        commands: Mapping[str, Command] | None = None,
        connection_file: Path | None = None,
        listen_at: Mapping[str, Any] | None = None,
        widgets: bool = True,
    ) -> None:
        """Create it without binding anything.

        Args:
            executor: what executes the cells.
            commands: magics that run on the host, by name without the percent sign.
            connection_file: where to write how to connect, readable by this user only; None for a
                temporary file.
            listen_at: where to listen and the key, in the form of a connection file; None for
                sockets in a temporary folder and a new key.
            widgets: whether messages of clients reach widgets, whose code then runs in no cell.
        """
        self._executor, self._commands = executor, commands or {}
        self._folder: Path | None = None
        self._file = connection_file
        self._listen_at = listen_at
        self._widgets = widgets
        self._key: str = listen_at["key"] if listen_at else secrets.token_hex(16)
        self._session = Session(key=self._key.encode(), username="kernel-env")
        self._context: zmq.asyncio.Context | None = None
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._queue: asyncio.Queue[tuple[list[bytes], dict[str, Any]]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._parents: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        """Header of a client's request by the ID of the message that the kernel got for it."""
        self._comms: OrderedDict[str, None] = OrderedDict()
        """IDs of the widgets' messages that the kernel got."""
        self._allowance = Allowance(CELL_BYTES, BYTES_PER_S)
        self._info: dict[str, Any] = {}
        self._count = 1
        """The number in the prompt of the latest cell. A command gets it, too: programs take a cell
        without a number for one that still runs."""

    @property
    def connection_info(self) -> dict[str, Any]:
        """Return what `jupyter_client` needs to connect."""
        assert self._folder is not None, "start it first"
        return dict(self._listen_at or connection_info(self._folder, self._key))

    @property
    def connection_file(self) -> Path:
        """Return the file by which programs on this machine connect."""
        assert self._folder is not None, "start it first"
        return self._file or self._folder / "connection.json"

    # ── start and end ─────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Bind the sockets, write the connection file, and serve.

        The executor must have a running kernel. Raises `KernelError`, `OSError`.
        """
        self._info = await kernel_info(self._executor)
        self._folder = temporary.folder()
        try:
            write_private(self.connection_file, json.dumps(self.connection_info))
            context = self._context = zmq.asyncio.Context()
            info = self.connection_info
            scheme, colon = ("tcp", ":") if info["transport"] == "tcp" else ("ipc", "-")
            for channel in CHANNELS:
                socket = self._sockets[channel] = context.socket(SOCKET_TYPES[channel])
                if channel == "iopub":
                    socket.set(zmq.XPUB_VERBOSE, 1)
                else:
                    socket.set(zmq.ROUTER_HANDOVER, 1)
                socket.bind(f"{scheme}://{info['ip']}{colon}{info[f'{channel}_port']}")
        except BaseException:
            await self.close()
            raise
        self._listen()
        self._spawn(self._receive("shell", self._take_request))
        self._spawn(self._receive("control", self._take_request))
        self._spawn(self._receive("stdin", lambda *_: None))
        self._spawn(self._echo_heartbeats())
        self._spawn(self._welcome_subscribers())
        self._spawn(self._execute_cells())

    async def close(self) -> None:
        """Close the sockets and remove the connection file. A running cell is cancelled.

        Idempotent. The executor is left as it is.
        """
        tasks, self._tasks = self._tasks - {asyncio.current_task()}, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if (kernel := self._executor.kernel) is not None:
            kernel.observe_rest = None
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.close(linger=LINGER_MS)
        context, self._context = self._context, None
        if context is not None:
            await asyncio.to_thread(context.term)
        if self._folder is not None:
            self.connection_file.unlink(missing_ok=True)
            folder, self._folder = self._folder, None
            temporary.remove(folder)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── receive ───────────────────────────────────────────────────────────────────────────

    async def _receive(
        self, channel: str, take: Callable[[str, list[bytes], dict[str, Any]], None]
    ) -> None:
        socket = self._sockets[channel]
        while True:
            parts = await socket.recv_multipart()
            try:
                identities, rest = self._session.feed_identities(parts)
                request = self._session.deserialize(rest)
            except (ValueError, TypeError, IndexError):  # not signed with the key
                continue
            take(channel, identities, request)

    async def _echo_heartbeats(self) -> None:
        socket = self._sockets["hb"]
        while True:
            await socket.send_multipart(await socket.recv_multipart())

    async def _welcome_subscribers(self) -> None:
        socket = self._sockets["iopub"]
        while True:
            (event,) = await socket.recv_multipart()
            if event[:1] == b"\x01":
                topic = event[1:]
                content = {"subscription": topic.decode(errors="replace")}
                self._send("iopub", [topic], self._session.msg("iopub_welcome", content))

    def _take_request(self, channel: str, identities: list[bytes], request: dict[str, Any]) -> None:
        kind = request["msg_type"]
        if kind == "execute_request":
            self._queue.put_nowait((identities, request))
        elif kind in COMM:
            self._pass_to_widget(request)
        elif kind in FORWARDED:
            self._spawn(self._answer(channel, identities, request, self._forward))
        elif kind in ("kernel_info_request", "connect_request"):
            self._spawn(self._answer(channel, identities, request, self._describe))
        elif kind == "interrupt_request":
            self._spawn(self._answer(channel, identities, request, self._interrupt))
        elif kind == "shutdown_request":
            self._spawn(self._shut_down(channel, identities, request))

    async def _answer(
        self,
        channel: str,
        identities: list[bytes],
        request: dict[str, Any],
        answer: Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """Reply to a request; clients see that it is worked on."""
        self._publish_status("busy", request["header"])
        self._reply(channel, identities, request, await answer(request))
        self._publish_status("idle", request["header"])

    async def _describe(self, request: dict[str, Any]) -> Mapping[str, Any]:
        info = self._info if request["msg_type"] == "kernel_info_request" else {}
        return {"status": "ok", **info}

    async def _interrupt(self, request: dict[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        await self._executor.interrupt()
        return {"status": "ok"}

    async def _shut_down(
        self, channel: str, identities: list[bytes], request: dict[str, Any]
    ) -> None:
        restart = bool(request["content"].get("restart"))
        content = {"status": "ok", "restart": restart}
        self._reply(channel, identities, request, content)
        self._publish("shutdown_reply", content, parent=request["header"])
        await self._executor.shutdown(restart=restart)
        self._listen()

    # ── the running kernel ────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Receive what the kernel sends between cells, also after it was replaced."""
        if (kernel := self._executor.kernel) is not None:
            kernel.observe_rest = self._relay_rest

    async def _forward(self, request: dict[str, Any]) -> Mapping[str, Any]:
        self._listen()
        try:
            if (kernel := self._executor.kernel) is None:
                raise KernelError("the kernel does not run")
            reply = await kernel.ask(request["msg_type"], request["content"])
            content: dict[str, Any] = json_of(parsed_content(reply.content, REPLY_BYTES))
        except (KernelError, *INVALID) as error:
            return {"status": "error", "ename": "KernelError", "evalue": str(error)}
        return content

    def _pass_to_widget(self, request: dict[str, Any]) -> None:
        self._listen()
        if (kernel := self._executor.kernel) is None or not self._widgets:
            self._publish_status("idle", request["header"])
            return
        number = kernel.send(
            request["msg_type"],
            request["content"],
            metadata=request["metadata"],
            buffers=[bytes(buffer) for buffer in request.get("buffers", ())],
        )
        remember(self._comms, number, None)
        remember(self._parents, number, request["header"])

    def _relay_rest(self, message: Message) -> None:
        """Publish a message of the kernel that belongs to no running cell."""
        parent = self._parents.get(message.parent or "", {})
        if message.kind == "status" and message.parent in self._comms:
            state = parsed_content(message.content, REPLY_BYTES).get("execution_state")
            self._publish_status("idle" if state == "idle" else "busy", parent)
        else:
            self._relay(message, parent)

    def _relay_of_cell(self, message: Message, header: Mapping[str, Any]) -> None:
        if message.parent:
            remember(self._parents, message.parent, header)
        self._relay(message, header)

    def _relay(self, message: Message, parent: Mapping[str, Any]) -> None:
        """Publish a message of the kernel. Raises one of `INVALID`."""
        if message.kind not in PUBLISHED or self._allowance.left < message.size:
            return
        self._allowance.use(message.size)
        self._publish(
            message.kind,
            json_of(parsed_content(message.content, DISPLAY_BYTES)),
            parent=parent,
            metadata=json_of(parsed_content(message.metadata, REPLY_BYTES)),
            buffers=message.buffers,
        )

    # ── cells ─────────────────────────────────────────────────────────────────────────────

    async def _execute_cells(self) -> None:
        while True:
            await self._execute(*await self._queue.get())

    async def _execute(self, identities: list[bytes], request: dict[str, Any]) -> None:
        header, content = request["header"], request["content"]
        self._publish_status("busy", header)
        output = CellOutput(
            partial(self._publish, parent=header), partial(self._relay_of_cell, header=header)
        )
        reply = await self._reply_to_cell(content, output)
        self._count = reply["execution_count"] or self._count
        self._listen()
        if reply["status"] == "error" and content.get("stop_on_error", True):
            await asyncio.sleep(ABORT_S)
            aborted = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        else:
            aborted = []
        self._reply("shell", identities, request, reply)
        self._publish_status("idle", header)
        for other_identities, other in aborted:
            self._publish_status("busy", other["header"])
            self._reply("shell", other_identities, other, reply_content("aborted", 0))
            self._publish_status("idle", other["header"])

    async def _reply_to_cell(
        self, content: dict[str, Any], output: CellOutput
    ) -> Mapping[str, Any]:
        code, silent = text_of(content.get("code")), bool(content.get("silent"))
        fields = {
            "store_history": bool(content.get("store_history", not silent)) and not silent,
            "user_expressions": content.get("user_expressions") or {},
        }
        try:
            if (called := called_command(code, self._commands)) is not None:
                name, argument = called
                if not silent:
                    output.publish("execute_input", {"code": code, "execution_count": self._count})
                output.show(await self._commands[name](argument))
                return reply_content("ok", self._count)
            request = CellRequest(code=code, silent=silent, fields=fields)
            return await self._executor.execute(request, output)
        except KernelEnvError as error:
            return output.fail(type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001 - the client waits for a reply
            return output.fail(type(error).__name__, f"this is a bug of kernel_env: {error}")

    # ── send ──────────────────────────────────────────────────────────────────────────────

    def _reply(
        self,
        channel: str,
        identities: list[bytes],
        request: dict[str, Any],
        content: Mapping[str, Any],
    ) -> None:
        kind = f"{request['msg_type'].removesuffix('_request')}_reply"
        message = self._session.msg(kind, dict(content), parent=request["header"])
        self._send(channel, identities, message)

    def _publish_status(self, state: str, parent: Mapping[str, Any]) -> None:
        self._publish("status", {"execution_state": state}, parent=parent)

    def _publish(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        parent: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
    ) -> None:
        message = self._session.msg(
            kind, dict(content), parent=dict(parent) or None, metadata=dict(metadata or {})
        )
        self._send("iopub", [f"kernel_env.{kind}".encode()], message, buffers)

    def _send(
        self,
        channel: str,
        identities: list[bytes],
        message: dict[str, Any],
        buffers: Sequence[bytes] = (),
    ) -> None:
        if (socket := self._sockets.get(channel)) is not None:
            socket.send_multipart([*self._session.serialize(message, identities), *buffers])


def remember(known: OrderedDict[str, Any], name: str, value: Any) -> None:
    """Add an entry, and delete the oldest beyond the limit."""
    known[name] = value
    while len(known) > REMEMBERED_PARENTS:
        known.popitem(last=False)


def write_private(path: Path, text: str) -> None:
    """Create a file that only this user can read. Raises `OSError`."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
