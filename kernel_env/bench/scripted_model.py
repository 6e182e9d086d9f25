"""A chat model that answers from a script: the same conversation, the same answer, anywhere.

It is a server of the chat-completions protocol on the loopback interface. What it answers depends
on a digest of the conversation: of its own earlier answers, and of the stage and the number of the
attempt that the tree agent asks for. What cells printed is left out, because it contains times. It
knows nothing of machine learning, so it compares ways to run cells, not ways to choose them.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_REQUEST_BYTES = 1 << 24
CHARACTERS_PER_TOKEN = 4
"""For the usage that it reports."""
STAGE = re.compile(r"^\[(prepare|draft|debug|improve), attempt (\d+)\]$", re.MULTILINE)
"""The first line of what the tree agent asks for."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """The cells that the model knows."""

    prepare: str
    """The first cell of every line of work."""
    drafts: Sequence[str]
    """First solutions."""
    changes: Sequence[str]
    """Changes of a solution; they follow a draft or each other in any order."""
    repair: str = "pass"
    """Follows a cell that failed."""


@dataclass
class ScriptedModel:
    """The script of a server, and what it has answered."""

    url: str
    script: Script
    answers: list[str] = field(default_factory=list)
    """The codes of its answers, in order; those of parallel requests in any order."""
    asked: Callable[[], object] = lambda: None
    """Called before each answer."""

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the code that follows a conversation."""
        self.asked()
        own = [str(message["content"]) for message in messages if message["role"] == "assistant"]
        last = str(messages[-1]["content"])
        asked = STAGE.findall(last)
        stage, attempt = asked[-1] if asked else (self._stage_of_linear(own, last), "1")
        digest = hashlib.sha256(json.dumps([own, stage, attempt]).encode()).digest()
        number = int.from_bytes(digest[:8], "big")
        match stage:
            case "prepare":
                code = self.script.prepare
            case "draft":
                first = len(own) <= 1 and asked
                at = int(attempt) - 1 if first else number
                code = self.script.drafts[at % len(self.script.drafts)]
            case "debug":
                code = self.script.repair
            case _:
                code = self.script.changes[number % len(self.script.changes)]
        self.answers.append(code)
        return code

    def _stage_of_linear(self, own: Sequence[str], last: str) -> str:
        """Return what comes next in a conversation with an agent that asks for no stage."""
        if len(own) < 2:
            return ("prepare", "draft")[len(own)]
        return "debug" if "Error" in last else "improve"


def completion(code: str, messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the body of an answer with a cell, and with the tokens of request and answer."""
    text = f"Run {code.strip().splitlines()[-1]!r} next.\n```python\n{code.strip()}\n```"
    prompted = sum(len(str(message["content"])) for message in messages) // CHARACTERS_PER_TOKEN
    answered = len(text) // CHARACTERS_PER_TOKEN
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {
            "prompt_tokens": prompted,
            "completion_tokens": answered,
            "total_tokens": prompted + answered,
        },
    }
    return json.dumps(body).encode()


@contextmanager
def serve(script: Script) -> Iterator[ScriptedModel]:
    """Run the server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = min(int(self.headers["content-length"]), MAX_REQUEST_BYTES)
            messages = json.loads(self.rfile.read(size))["messages"]
            body = completion(model.answer(messages), messages)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model = ScriptedModel(f"http://127.0.0.1:{server.server_address[1]}/v1", script)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()
