"""An HTTP server for the chat-completions protocol that answers from a script.

It is strict: a conversation in which a tool call has no reply, or a role has two messages in a
row, is answered with 400 and recorded in `faults`.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kernel_env.episode.actions import Action
from kernel_env.episode.json_codec import action_json

KEY = "sk-test-0123456789"
"""The API key that clients send."""

HANG, CLOSE = "hang", "close"
"""Script lines: send no reply until the server stops, and close the connection without one."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A raw HTTP reply."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Request = dict[str, Any]
ScriptLine = Reply | str | Callable[[Request], Reply]
"""A reply, `HANG`, `CLOSE`, or a function from the request's body to a reply."""

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def completion(
    message: dict[str, Any], *, finish: str = "stop", usage: dict[str, int] | None = USAGE
) -> Reply:
    """Build the reply with a message of the model."""
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
    }
    return Reply(body=json.dumps(body | ({"usage": usage} if usage else {})).encode())


def text_answer(content: str | None, **more: Any) -> Reply:
    """Build an answer with text."""
    return completion({"role": "assistant", "content": content}, **more)


def tool_answer(*calls: Action | tuple[str, str], content: str | None = None, **more: Any) -> Reply:
    """Build an answer with tool calls: actions, or pairs of a name and raw arguments."""
    named = []
    for call in calls:
        if not isinstance(call, tuple):
            arguments = action_json(call)
            call = (arguments.pop("kind"), json.dumps(arguments))
        named.append(call)
    tool_calls = [
        {"id": f"id{number}", "type": "function", "function": {"name": name, "arguments": text}}
        for number, (name, text) in enumerate(named)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": tool_calls}
    return completion(message, **({"finish": "tool_calls"} | more))


def error_reply(status: int, message: str, **more: Any) -> Reply:
    """Build an error that lets clients retry without a pause."""
    error = {"message": message, "type": "error", "param": None, "code": None} | more
    return Reply(
        status=status,
        body=json.dumps({"error": error}).encode(),
        headers={"retry-after-ms": "1"},
    )


class ChatServer:
    """The script of a server and the requests it received."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: list[ScriptLine] = []
        """Replies in order; after the last one, the model answers DONE."""
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[str] = []
        self.stopped = threading.Event()

    def respond(self, request: Request, headers: dict[str, str]) -> Reply | str:
        self.requests.append(request)
        self.headers.append(headers)
        if fault := conversation_fault(request["messages"]):
            self.faults.append(fault)
            return error_reply(400, fault)
        line = self.script.pop(0) if self.script else text_answer("DONE")
        return line(request) if callable(line) else line

    @property
    def sent_texts(self) -> list[str]:
        """Return the text of each message of the latest request."""
        return [text_of(message) for message in self.requests[-1]["messages"]]


def text_of(message: dict[str, Any]) -> str:
    """Return a message's text."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def conversation_fault(messages: Sequence[dict[str, Any]]) -> str:
    """Return why a strict server rejects a conversation; empty when it is valid."""
    roles = [message["role"] for message in messages]
    speakers = [role for role in roles if role not in ("system", "tool")]
    if "system" in roles[1:] or speakers[:1] != ["user"]:
        return f"must begin with system and user: {roles}"
    open_calls: list[str] = []
    previous = ""
    for message in messages:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                return f"a reply to no call: {roles}"
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return f"a call without a reply: {roles}"
        if role == previous and role != "tool":
            return f"two consecutive messages of {role}: {roles}"
        if not message["content"] and not message.get("tool_calls"):
            return f"an empty message of {role}"
        for call in message.get("tool_calls", ()):
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return "arguments that are not an object"
            open_calls.append(call["id"])
        previous = role
    return "ends with the assistant" if previous == "assistant" or open_calls else ""


@contextmanager
def run_chat_server() -> Iterator[ChatServer]:
    """Run a server on the loopback interface until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            reply = chat.respond(json.loads(data), {k.lower(): v for k, v in self.headers.items()})
            if reply == HANG:
                chat.stopped.wait(60)
            if not isinstance(reply, Reply):
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", reply.kind)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        chat = ChatServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield chat
        finally:
            chat.stopped.set()
            server.shutdown()
            thread.join()
