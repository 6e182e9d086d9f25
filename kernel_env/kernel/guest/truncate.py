"""Truncate output: keep a stream's head and tail, a string's ends, a traceback's end.

Pure functions: texts and JSON go in, shorter ones come out, and everything left out is counted.
The notes have the wording of the host's, which truncates the same way the output of a kernel
without these caps.
"""

from typing import Any

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 16 * 1024
"""Bytes of UTF-8 kept of the beginning and of the end of each stream of a cell."""
FIELD_CHARS = 60 * 1024
"""Characters kept of each string in a message that is no display, and of a whole traceback."""
MESSAGE_CHARS = 256 * 1024
"""Approximate limit of characters of such a message as a whole."""
MAX_ITEMS = 200
"""Entries kept of each list and object in it."""
MAX_DEPTH = 20

MAX_ENTRIES = 1_000_000
"""Most entries visited to measure a value."""
CHUNK_CHARS = 64 * 1024
CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
"""Continuation bytes of UTF-8."""


class StreamCap:
    r"""The cap of one stream during one cell; it counts what it leaves out.

    While there is room, text is shown at once. Room is counted in what a reader sees: text that
    a `\r` overwrites costs nothing, so a progress bar can be redrawn without limit. Once the head
    is full, nothing is shown until `remainder` is called: at the end of the cell, and before
    output that must follow the text so far, such as a display or an error. Every byte is then
    either shown, overwritten while there was room, or counted in `dropped`.
    """

    def __init__(self, name: str = "stdout") -> None:
        self.name = name
        self.dropped = 0
        self.room = HEAD_BYTES
        self._tail_room = 2 * TAIL_BYTES
        self._tail = bytearray()
        self._held_back = 0
        """Bytes that came after the head was full and are neither shown nor dropped yet."""
        self._line_bytes = 0
        """Bytes of the current line."""
        self._ends_in_return = False
        """Whether the text so far ends in a carriage return."""

    def take(self, text: str) -> str:
        """Return the part of the text that is shown now. Never copies a huge text as a whole."""
        if not self.room:
            self._hold_back(text)
            return ""
        shown = []
        for start in range(0, len(text), CHUNK_CHARS):
            if not self.room:
                self._hold_back(text, start)
                break
            shown.append(self._show(text[start : start + CHUNK_CHARS]))
        return "".join(shown)

    def remainder(self, *, last: bool) -> str:
        """Return the end of the text held back, preceded by a note of how much is missing.

        At most `TAIL_BYTES` the first time, then half of what is left, so that even after many
        displays something is left for the end of the cell.
        """
        limit = min(TAIL_BYTES, self._tail_room if last else self._tail_room // 2)
        if not self._held_back or (limit < 512 and not last):
            return ""
        kept = bytes(self._tail[-limit:]).lstrip(CONTINUATION_BYTES)
        missing = self._held_back - len(kept)
        self._tail_room -= len(kept)
        self._drop_held_back(missing)
        note = f"\n[… {missing:,} bytes of {self.name} left out …]\n" if missing else ""
        return note + kept.decode()

    def clear(self, *, refill: bool) -> None:
        """Drop the held-back text after the front end cleared; `refill` also frees its room."""
        self._drop_held_back(self._held_back)
        if refill:
            self.room, self._tail_room = HEAD_BYTES, 2 * TAIL_BYTES
            self._line_bytes, self._ends_in_return = 0, False

    def _drop_held_back(self, missing: int) -> None:
        self.dropped += missing
        self._held_back = 0
        self._tail.clear()

    def _show(self, text: str) -> str:
        data = text.encode("utf-8", "backslashreplace")
        if self._ends_in_return and data.lstrip(b"\r")[:1] not in (b"", b"\n"):
            self._restart_line()
        if b"\r" in data:
            data, restarted = apply_carriage_returns(data)
            if restarted:
                self._restart_line()
        if len(data) > self.room:
            end = self.room
            while end and data[end] & 0xC0 == 0x80:
                end -= 1
            self._hold_back(data[end:].decode())
            self.room, data = 0, data[:end]
        else:
            self.room -= len(data)
        newline = data.rfind(b"\n")
        self._line_bytes = len(data) - newline - 1 if newline >= 0 else self._line_bytes + len(data)
        self._ends_in_return = data.endswith(b"\r") if data else self._ends_in_return
        return data.decode()

    def _restart_line(self) -> None:
        self.room += self._line_bytes
        self._line_bytes = 0

    def _hold_back(self, text: str, start: int = 0) -> None:
        size = 0
        if start or len(text) > TAIL_BYTES:
            size = utf8_size(text, start)
            text = text[max(start, len(text) - TAIL_BYTES) :]
        data = text.encode("utf-8", "backslashreplace")
        self._held_back += size or len(data)
        self._tail += data
        if len(self._tail) > 8 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]


def apply_carriage_returns(text: bytes) -> tuple[bytes, bool]:
    r"""Remove what `\r` overwrites. Returns the text, and whether its first line was restarted.

    The `\r` itself stays: the front end overwrites the part of the line that it was already sent.
    """
    restarted, lines = False, text.split(b"\n")
    for number, line in enumerate(lines):
        body = line.rstrip(b"\r")  # a return before a line break has no effect
        return_at = body.rfind(b"\r")
        if return_at >= 0:
            lines[number] = b"\r" + line[return_at + 1 :]
            restarted = restarted or number == 0
    return b"\n".join(lines), restarted


def utf8_size(text: str, start: int = 0) -> int:
    """Return the size in UTF-8 bytes, without a second copy of the text."""
    if text.isascii():
        return max(0, len(text) - start)
    chunks = (text[at : at + CHUNK_CHARS] for at in range(start, len(text), CHUNK_CHARS))
    return sum(len(chunk.encode("utf-8", "backslashreplace")) for chunk in chunks)


def json_size(value: Any) -> int:
    """Return the approximate size of a JSON value in bytes; at least 8 MB for a million entries."""
    size, visited = 0, 0
    stack = [iter((value,))]
    while stack:
        for entry in stack[-1]:
            visited += 1
            match entry:
                case str():
                    size += utf8_size(entry)
                case bytes() | bytearray() | memoryview():
                    size += (len(entry) + 2) // 3 * 4  # it is sent as base64
                case dict():
                    stack += [iter(entry), iter(entry.values())]
                    break
                case list() | tuple():
                    stack.append(iter(entry))
                    break
                case _:
                    size += 8
        else:
            stack.pop()
        if visited > MAX_ENTRIES:
            return max(size, 8 * MAX_ENTRIES)
    return size


def truncate_middle(text: str, limit: int = FIELD_CHARS) -> str:
    """Return a text with its middle left out if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = max(1, limit // 2)
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


def truncate_traceback(traceback: Any) -> list[str]:
    """Return the end of a traceback, where the error is."""
    lines: list[str] = []
    room = FIELD_CHARS
    for line in reversed(traceback if isinstance(traceback, list) else []):
        lines.insert(0, truncate_middle(line if isinstance(line, str) else str(line)[:FIELD_CHARS]))
        room -= len(lines[0])
        if room < 0 or len(lines) >= MAX_ITEMS:
            break
    return lines


def truncate_json(value: Any) -> Any:
    """Return a JSON value with long strings cut, and bounded in length, depth and total size."""
    room = MESSAGE_CHARS

    def shorten(value: Any, depth: int) -> Any:
        nonlocal room
        room -= 8
        match value:
            case str():
                value = truncate_middle(value, min(FIELD_CHARS, max(room, 0)))
                room -= len(value)
            case dict() | list() | tuple() if depth == 0 or room < 0:
                value = "…"
            case dict():
                kept = list(value.items())[:MAX_ITEMS] if len(value) > MAX_ITEMS else value.items()
                value = {shorten(key, 0): shorten(item, depth - 1) for key, item in kept}
            case list() | tuple():
                value = [shorten(item, depth - 1) for item in value[:MAX_ITEMS]]
        return value

    return shorten(value, MAX_DEPTH)
