r"""Collect the messages of a cell into its outputs as a Jupyter front end does, within limits.

Text of a stream that follows text of the same stream is appended to it; `\r` starts a line over
and `\b` removes a character; `clear_output` clears; an update of a display replaces what it
showed. An update of a display of an earlier cell becomes an output of this one: finished cells
do not change.

Everything that arrives is untrusted, in any form. `OutputCollector` accepts any JSON and returns
only valid nbformat outputs.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from kernel_env.kernel.cell import Output
from kernel_env.sandbox.tail_buffer import TailBuffer

HEAD_BYTES = 97 * 1024
TAIL_BYTES = 16 * 1024
"""Kept of each stream of a cell: its head and its tail.

A kernel with its own caps (`guest.output_caps`) never sends so much.
"""
DISPLAY_BYTES = 4 * 1024 * 1024
"""Kept of all displays and results of a cell."""
ERROR_BYTES = 64 * 1024
"""Kept of each string of an error."""
MAX_OUTPUTS = 200
MAX_DEPTH = 50
"""Maximum nesting of JSON values."""
JSON_KIND = re.compile(r"[a-zA-Z0-9]+/[a-zA-Z0-9\-+.]+\+json")
"""MIME types whose data nbformat allows to be JSON values other than text."""

PIECES = re.compile(rb"[^\r\n\x08]+|.", re.DOTALL)


@dataclass
class Text:
    """One stream of a cell: the space left in its head, and its tail."""

    space: int = HEAD_BYTES
    tail: TailBuffer = field(default_factory=lambda: TailBuffer(TAIL_BYTES))
    """What arrived after the head was full."""


class OutputCollector:
    """Collects the outputs of one cell."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._raw: list[bytearray | None] = []
        """For each output that is a stream, its text until now."""
        self._displays: dict[str, list[int]] = {}
        self._streams: dict[str, Text] = {}
        self._display_space = DISPLAY_BYTES
        self._clear_next = False
        self.dropped_bytes = 0

    def add(self, kind: str, content: Any) -> None:
        """Add a message of the iopub channel. Kinds without output are ignored."""
        if not isinstance(content, dict):
            return
        match kind:
            case "stream":
                name = "stderr" if content.get("name") == "stderr" else "stdout"
                self._stream(name, content.get("text"))
            case "display_data" | "execute_result":
                self._display(kind, content)
            case "update_display_data":
                self._update(content)
            case "error":
                self._error(content)
            case "clear_output":
                self._clear_next = bool(content.get("wait"))
                if not self._clear_next:
                    self._clear()

    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs until now, with a note where a part of a stream was left out."""
        shown = [dict(output) for output in self._outputs]
        last: dict[str, int] = {}
        for place, (output, raw) in enumerate(zip(shown, self._raw, strict=True)):
            if raw is not None:
                output["text"] = raw.decode(errors="replace")
                last[output["name"]] = place
        for name, text in self._streams.items():
            if name in last and text.tail.seen_bytes:
                left_out = text.tail.left_out_bytes
                note = f"\n[… {left_out:,} bytes of {name} left out …]\n" if left_out else ""
                shown[last[name]]["text"] += note + overwritten(text.tail.kept).decode(
                    errors="replace"
                )
        return tuple(output for output in shown if output.get("text") != "")

    @property
    def left_out_bytes(self) -> int:
        """Return how many bytes arrived and were not kept."""
        return self.dropped_bytes + sum(s.tail.left_out_bytes for s in self._streams.values())

    def _clear(self) -> None:
        self._outputs.clear()
        self._raw.clear()
        self._displays.clear()
        self._streams.clear()
        self._display_space = DISPLAY_BYTES
        self._clear_next = False

    def _add(self, output: Output, raw: bytearray | None = None) -> bool:
        if self._clear_next:
            self._clear()
        if len(self._outputs) >= MAX_OUTPUTS:
            if output["output_type"] != "error":
                return False
            self._outputs.pop()  # an error is always kept
            self._raw.pop()
        self._outputs.append(output)
        self._raw.append(raw)
        return True

    def _stream(self, name: str, text: Any) -> None:
        if not isinstance(text, str) or not text:
            return
        if self._clear_next:
            self._clear()
        data = text.encode(errors="backslashreplace")
        stream = self._streams.setdefault(name, Text())
        if stream.tail.seen_bytes:
            stream.tail.add(data)
            return
        raw = self._raw[-1] if self._outputs and self._outputs[-1].get("name") == name else None
        if raw is None:
            raw = bytearray()
            if not self._add({"output_type": "stream", "name": name, "text": ""}, raw):
                stream.tail.add(data)
                return
        kept = len(raw)
        if raw.endswith(b"\r") or b"\r" in data or b"\b" in data:
            line = raw.rfind(b"\n") + 1
            raw[line:] = overwritten(bytes(raw[line:]) + data)
        else:
            raw += data
        stream.space -= len(raw) - kept
        if stream.space < 0:
            stream.tail.add(bytes(raw[stream.space :]))
            del raw[stream.space :]
            stream.space = 0

    def _error(self, content: dict[str, Any]) -> None:
        output = error_output(content)
        size = size_of(output)
        if size > self._display_space:
            self.dropped_bytes += size
            output = {**output, "evalue": output["evalue"][:1000], "traceback": []}
        else:
            self._display_space -= size
        self._add(output)

    def _display(self, kind: str, content: dict[str, Any]) -> None:
        output: Output = {
            "output_type": kind,
            "metadata": self._metadata(content.get("metadata")),
            "data": self._bundle(content.get("data")),
        }
        if kind == "execute_result":
            output["execution_count"] = count_of(content.get("execution_count"))
        if not self._add(output):
            self.dropped_bytes += size_of(output["data"]) + size_of(output["metadata"])
        elif name := display_id(content):
            self._displays.setdefault(name, []).append(len(self._outputs) - 1)

    def _update(self, content: dict[str, Any]) -> None:
        places = self._displays.get(display_id(content) or "")
        if not places:
            self._display("display_data", content)
            return
        for place in places:
            self._display_space += size_of(self._outputs[place]["data"])
            self._display_space += size_of(self._outputs[place]["metadata"])
        for place in places:
            self._outputs[place]["data"] = self._bundle(content.get("data"))
            self._outputs[place]["metadata"] = self._metadata(content.get("metadata"))

    def _metadata(self, metadata: Any) -> dict[str, Any]:
        """Return the metadata of a display, or {} if there is no space for it."""
        metadata = metadata if isinstance(metadata, dict) else {}
        size = size_of(metadata)
        if size > self._display_space:
            self.dropped_bytes += size
            return {}
        self._display_space -= size
        clean: dict[str, Any] = json_of(metadata)
        return clean

    def _bundle(self, data: Any) -> dict[str, Any]:
        """Return the representations of a display, or a note if there is no space for them."""
        data = data if isinstance(data, dict) else {}
        bundle = {text_of(kind): representation(kind, value) for kind, value in data.items()}
        size = size_of(bundle)
        if size <= self._display_space:
            self._display_space -= size
            return bundle
        self.dropped_bytes += size
        short = str(bundle.get("text/plain", ""))[:2000]
        return {
            "text/plain": f"[a display of {size:,} bytes left out: {', '.join(bundle)}]\n{short}"
        }


def overwritten(text: bytes) -> bytes:
    r"""Apply control characters: `\r` starts the line over, `\b` removes a character.

    A `\r` at the end is kept for what follows, so that a text can be processed in pieces.
    """
    if b"\r" not in text and b"\b" not in text:
        return text
    seen, line, returned = bytearray(), 0, False
    for match in PIECES.finditer(text):
        piece = match[0]
        if returned and piece != b"\r":
            if piece == b"\n":
                seen += b"\r"  # a line break of Windows
            else:
                del seen[line:]
        returned = piece == b"\r"
        if piece == b"\b":
            backspace(seen, line)
        elif not returned:
            seen += piece
        if piece == b"\n":
            line = len(seen)
    return bytes(seen + b"\r" if returned else seen)


def backspace(seen: bytearray, line: int) -> None:
    """Remove the last character of the line, with all its bytes."""
    while len(seen) > line and seen.pop() & 0xC0 == 0x80:
        pass


def error_output(content: dict[str, Any]) -> Output:
    """Return an nbformat error output with shortened strings and the tail of the traceback."""
    traceback = content.get("traceback")
    lines: list[str] = []
    space = ERROR_BYTES
    for line in reversed(traceback if isinstance(traceback, list) else []):
        lines.insert(0, shortened(line))
        space -= len(lines[0])
        if space < 0 or len(lines) >= MAX_OUTPUTS:
            break
    return {
        "output_type": "error",
        "ename": shortened(content.get("ename")) or "Error",
        "evalue": shortened(content.get("evalue")),
        "traceback": lines,
    }


def shortened(value: Any) -> str:
    """Return head and tail of a text that is too long."""
    text = value if isinstance(value, str) else text_of(value)
    half = ERROR_BYTES // 2
    if len(text) <= ERROR_BYTES:
        return text_of(text)
    note = f"[… {len(text) - ERROR_BYTES:,} characters left out …]"
    return text_of(f"{text[:half]}\n{note}\n{text[-half:]}")


def display_id(content: dict[str, Any]) -> str | None:
    """Return the ID by which a display can be updated."""
    transient = content.get("transient")
    name = transient.get("display_id") if isinstance(transient, dict) else None
    return name if isinstance(name, str) else None


def count_of(value: Any) -> int | None:
    """Return the value if it is a valid execution count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def text_of(value: Any) -> str:
    """Return the value as a string that UTF-8 can encode."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text.encode(errors="backslashreplace").decode()


def json_of(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return valid JSON: no NaN, no lone surrogates, limited nesting."""
    if depth == 0 and isinstance(value, dict | list | tuple):
        return "…"
    match value:
        case str():
            return text_of(value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {text_of(key): json_of(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [json_of(item, depth - 1) for item in value]
        case None | bool() | int() | float():
            return value
    return text_of(value)


def representation(kind: Any, value: Any) -> Any:
    """Return one entry of a MIME bundle in nbformat's form."""
    if isinstance(kind, str) and (kind == "application/json" or JSON_KIND.fullmatch(kind)):
        return json_of(value)
    if isinstance(value, list):
        return "".join(text_of(line) for line in value)
    return text_of(value)


def size_of(value: Any) -> int:
    """Estimate the size of a JSON value in bytes."""
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode())
        case dict():
            return sum(size_of(key) + size_of(item) for key, item in value.items())
        case list():
            return sum(map(size_of, value))
    return 8
