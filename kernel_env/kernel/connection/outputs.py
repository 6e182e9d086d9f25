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
NAMED_KINDS, KIND_CHARACTERS = 20, 100
"""Most MIME types that a note names, and the most characters kept of the name of one."""
ID_CHARACTERS = 1000
"""Most characters of the ID by which a display can be updated."""
MAX_CONTROLS = 20_000
"""Most carriage returns and backspaces in one message; handling more takes too long."""
MAX_COUNT = 1 << 53
"""Largest execution count."""
MAX_DEPTH = 50
"""Maximum nesting of JSON values."""
JSON_KIND = re.compile(r"[a-zA-Z0-9]+/[a-zA-Z0-9\-+.]+\+json")
"""MIME types whose data nbformat allows to be JSON values other than text."""

BACKSPACES = re.compile(rb"\x08+")


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
        if data.count(b"\b") + data.count(b"\r") > MAX_CONTROLS:
            self.dropped_bytes += len(data)
            return
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
        if self._clear_next:
            self._clear()
        shown = self._shown(content)
        output: Output = {"output_type": kind, "data": shown.data, "metadata": shown.metadata}
        if kind == "execute_result":
            output["execution_count"] = count_of(content.get("execution_count"))
        if not self._add(output):
            self.dropped_bytes += shown.size
            return
        self._display_space -= shown.size
        if name := display_id(content):
            self._displays.setdefault(name, []).append(len(self._outputs) - 1)

    def _update(self, content: dict[str, Any]) -> None:
        places = self._displays.get(display_id(content) or "")
        if not places:
            self._display("display_data", content)
            return
        for place in places:
            self._display_space += size_of(self._outputs[place]["data"])
            self._display_space += size_of(self._outputs[place]["metadata"])
        shown = self._shown(content)
        for place in places:
            if shown.size > self._display_space:
                shown = note("[an update of this display left out]")
            self._display_space -= shown.size
            self._outputs[place] |= {"data": shown.data, "metadata": shown.metadata}

    def _shown(self, content: dict[str, Any]) -> "Shown":
        """Return data and metadata of a display, or a note if there is no space for them."""
        data, metadata = content.get("data"), content.get("metadata")
        bundle = {
            text_of(kind)[:KIND_CHARACTERS]: representation(kind, value)
            for kind, value in (data.items() if isinstance(data, dict) else ())
        }
        clean = json_of(metadata) if isinstance(metadata, dict) else {}
        size = size_of(bundle) + size_of(clean)
        if size <= self._display_space:
            return Shown(data=bundle, metadata=clean, size=size)
        self.dropped_bytes += size
        kinds = ", ".join(list(bundle)[:NAMED_KINDS])
        short = str(bundle.get("text/plain", ""))[:2000]
        return note(f"[a display of {size:,} bytes left out: {kinds}]\n{short}")

    def leave_out(self, kind: str, size: int, reason: str) -> None:
        """Leave out a message that is too large to be parsed; a note takes a display's place."""
        self.dropped_bytes += size
        if kind in ("display_data", "execute_result"):
            self._display(
                "display_data", {"data": {"text/plain": f"[a display left out: {reason}]"}}
            )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a display shows."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    size: int
    """Bytes of both."""


def note(text: str) -> Shown:
    """Return a display that shows a note."""
    return Shown(data={"text/plain": text}, metadata={}, size=len(text))


def overwritten(text: bytes) -> bytes:
    r"""Apply control characters: `\r` starts the line over, `\b` removes a character.

    A `\r` at the end is kept for what follows, so that a text can be processed in pieces.
    """
    if b"\r" not in text and b"\b" not in text:
        return text
    return b"\n".join(map(overwritten_line, text.split(b"\n")))


def overwritten_line(line: bytes) -> bytes:
    r"""Apply control characters to a line. A `\r` at its end is that of a Windows line break."""
    body = line.rstrip(b"\r")
    end = line[len(body) : len(body) + 1]
    body = body[body.rfind(b"\r") + 1 :]
    if b"\b" not in body:
        return body + end
    shown, at = bytearray(), 0
    for run in BACKSPACES.finditer(body):
        shown += body[at : run.start()]
        at = run.end()
        backspace(shown, at - run.start())
    return bytes(shown + body[at:] + end)


def backspace(shown: bytearray, count: int) -> None:
    """Remove the last characters, each with all its bytes."""
    if (last := shown[-count:]).isascii():
        del shown[-len(last) :]
        return
    while shown and count:
        count -= shown.pop() & 0xC0 != 0x80


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
    return name if isinstance(name, str) and len(name) <= ID_CHARACTERS else None


def count_of(value: Any) -> int | None:
    """Return the value if it is a valid execution count."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def text_of(value: Any) -> str:
    """Return the value as a string that UTF-8 can encode."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def json_of(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return valid JSON: no NaN, no lone surrogates, limited nesting."""
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, dict):
        if depth == 0:
            return "…"
        return {text_of(key): json_of(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item, depth - 1) for item in value] if depth else "…"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else text_of(value)


def representation(kind: Any, value: Any) -> Any:
    """Return one entry of a MIME bundle in nbformat's form."""
    if isinstance(kind, str) and (kind == "application/json" or JSON_KIND.fullmatch(kind)):
        return json_of(value)
    if isinstance(value, list):
        return "".join(text_of(line) for line in value)
    return text_of(value)


def size_of(value: Any) -> int:
    """Estimate the size of a JSON value in bytes."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, dict):
        return sum(map(size_of, value)) + sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list) else 8
