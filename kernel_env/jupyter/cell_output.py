"""Show Jupyter clients what a cell does, and make the reply to it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kernel_env.kernel.cell import Cell, describe_recovery
from kernel_env.kernel.connection.messages import Message, parsed_content
from kernel_env.kernel.connection.outputs import json_of, text_of
from kernel_env.untrusted_text import escape_line

REPLY_BYTES = 2 * 1024 * 1024
"""Most bytes parsed of a reply."""
PAYLOADS = ("page", "set_next_input")
"""What a kernel may ask its clients to do after a cell. `ask_exit` is not among them: the kernel
is restored."""


class Publish(Protocol):
    """Publishes a message to all clients."""

    def __call__(self, kind: str, content: Mapping[str, Any]) -> None:
        """Publish a message of this kind."""


class CellOutput:
    """The outputs of a cell that is executed for a client, while it runs."""

    def __init__(self, publish: Publish, relay: Callable[[Message], None]) -> None:
        """Create it.

        Args:
            publish: publishes a message of the host about this cell.
            relay: publishes a message of the kernel about this cell; raises one of `INVALID`.
        """
        self.publish, self._relay = publish, relay
        self._reply: dict[str, Any] = {}

    def observe(self, message: Message) -> None:
        """Take a message of the kernel as it arrives. Raises one of `INVALID`."""
        if message.kind == "execute_reply":
            self._reply = json_of(parsed_content(message.content, REPLY_BYTES))
        else:
            self._relay(message)

    def print(self, text: str, *, name: str = "stdout") -> None:
        """Show a text of the host."""
        self.publish("stream", {"name": name, "text": text})

    def show(self, result: str | Mapping[str, Any]) -> None:
        """Show a text or a MIME bundle of the host."""
        if isinstance(result, str):
            self.print(result)
        else:
            content = {"data": dict(result), "metadata": {}, "transient": {}}
            self.publish("display_data", content)

    def fail(self, name: str, text: str, *, count: int = 0) -> dict[str, Any]:
        """Show an error of the host, and return the reply of a cell that ended with it."""
        line = escape_line(text)
        error = {"ename": name, "evalue": line, "traceback": [f"{name}: {line}"]}
        self.publish("error", error)
        return reply_content("error", count, **error)

    def reply(self, cell: Cell) -> dict[str, Any]:
        """Return the reply to a cell that has ended, after showing how its kernel was recovered.

        A cell that crashed the kernel is an error, so that no later cell of the notebook runs.
        """
        count = cell.execution_count or 0
        notes = [cell.note] if cell.note else []
        if cell.full_folders:
            notes.append(f"no space left in {', '.join(cell.full_folders)}: delete files there")
        if cell.timed_out:
            notes.append(f"the time limit was reached after {cell.seconds:.1f} s")
        if cell.state_lost:
            notes.append(f"state was lost: {cell.state_lost}")
        for note in notes:
            self.print(f"[{escape_line(note)}]\n", name="stderr")
        if cell.undone and cell.recovery is not None:
            return self.fail("KernelRestored", describe_recovery(cell.recovery), count=count)
        if cell.recovery is not None:
            note = f"[kernel restored: {escape_line(describe_recovery(cell.recovery))}]\n"
            self.print(note, name="stderr")
        if self._reply.get("status") == "error":
            traceback = self._reply.get("traceback")
            lines = traceback if isinstance(traceback, list) else []
            return reply_content(
                "error",
                count,
                ename=text_of(self._reply.get("ename")),
                evalue=text_of(self._reply.get("evalue")),
                traceback=[text_of(line) for line in lines],
            )
        if cell.broke:
            return self.fail("KernelDied", cell.broke, count=count)
        return reply_content(
            "ok",
            count,
            payload=payloads(self._reply.get("payload")),
            user_expressions=self._reply.get("user_expressions"),
        )


def reply_content(status: str, count: int, **fields: Any) -> dict[str, Any]:
    """Return the content of an `execute_reply`."""
    expressions = fields.pop("user_expressions", None)
    return {
        "status": status,
        "execution_count": count,
        "payload": [],
        "user_expressions": expressions if isinstance(expressions, dict) else {},
        **fields,
    }


def payloads(value: Any) -> list[dict[str, Any]]:
    """Return the payloads that a client may act on."""
    found = value if isinstance(value, list) else []
    return [
        payload
        for payload in found
        if isinstance(payload, dict) and text_of(payload.get("source")) in PAYLOADS
    ]
