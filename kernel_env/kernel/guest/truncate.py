r"""What is kept of too much: a stream's head and tail, a string's ends, a traceback's end.

Pure: texts and JSON come in, shorter ones go out, and nothing is left out uncounted.
The words that say so are those of the host's fold, which cuts in the same way what a
kernel without these caps sends.
"""

from typing import Any

HEAD = 64 * 1024
TAIL = 16 * 1024
"""Kept of each stream of a cell: its beginning and its end, in bytes of UTF-8."""
FIELD = 60 * 1024
"""Characters kept of each string in a message that is no display; of a whole traceback as well."""
WHOLE = 256 * 1024
"""About how many characters such a message may have in all."""
ITEMS = 200
"""Entries kept of each list and object in it."""
DEPTH = 20

MOST_ENTRIES = 1_000_000
"""Looked at to measure a value."""
STEP = 64 * 1024
CONTINUES = bytes(range(0x80, 0xC0))
"""The bytes that go on with a character of UTF-8."""


class Cap:
    r"""What one stream may still show of a cell; of what it may not, the end and the count.

    While there is room, text is shown at once. Room is counted in what a reader sees: what
    a `\r` overwrites costs nothing, so a progress bar may be redrawn for ever. Once the head
    is full nothing is shown before `rest` is called, which happens when the cell is over and
    before what must come after the text so far: a display, an error. Every byte is then
    shown, overwritten while there was room, or in `dropped`.
    """

    def __init__(self, name: str = "stdout") -> None:
        self.name = name
        self.dropped = 0
        self.room = HEAD
        self._spare = 2 * TAIL
        self._tail = bytearray()
        self._held = 0
        """Bytes that came after the head was full and are neither shown nor dropped yet."""
        self._line = 0
        """Bytes of the line that is being written."""
        self._returned = False
        """The text so far ends in a carriage return."""

    def take(self, text: str) -> str:
        """What is to be shown of the text now. Huge texts are never copied as a whole."""
        if not self.room:
            self._hold(text)
            return ""
        shown = []
        for start in range(0, len(text), STEP):
            if not self.room:
                self._hold(text, start)
                break
            shown.append(self._show(text[start : start + STEP]))
        return "".join(shown)

    def rest(self, *, last: bool) -> str:
        """How many bytes are missing, and the end of what was held back.

        Up to `TAIL` the first time, half of what is then left the next, so that even after
        many displays something is left for the cell's end.
        """
        limit = min(TAIL, self._spare if last else self._spare // 2)
        if not self._held or (limit < 512 and not last):
            return ""
        kept = bytes(self._tail[-limit:]).lstrip(CONTINUES)
        missing = self._held - len(kept)
        self._spare -= len(kept)
        self._forget(missing)
        note = f"\n[… {missing:,} bytes of {self.name} left out …]\n" if missing else ""
        return note + kept.decode()

    def clear(self, *, refill: bool) -> None:
        """The front end shows nothing any more; `refill` says whether that makes room."""
        self._forget(self._held)
        if refill:
            self.room, self._spare, self._line, self._returned = HEAD, 2 * TAIL, 0, False

    def _forget(self, missing: int) -> None:
        self.dropped += missing
        self._held = 0
        self._tail.clear()

    def _show(self, text: str) -> str:
        data = text.encode("utf-8", "replace")
        if self._returned and data.lstrip(b"\r")[:1] not in (b"", b"\n"):
            self._start_over()
        if b"\r" in data:
            data, over = overwritten(data)
            if over:
                self._start_over()
        if len(data) > self.room:
            end = self.room
            while end and data[end] & 0xC0 == 0x80:
                end -= 1
            self._hold(data[end:].decode())
            self.room, data = 0, data[:end]
        else:
            self.room -= len(data)
        newline = data.rfind(b"\n")
        self._line = len(data) - newline - 1 if newline >= 0 else self._line + len(data)
        self._returned = data.endswith(b"\r") if data else self._returned
        return data.decode()

    def _start_over(self) -> None:
        self.room += self._line
        self._line = 0

    def _hold(self, text: str, start: int = 0) -> None:
        size = 0
        if start or len(text) > TAIL:
            size = size_of_text(text, start)
            text = text[max(start, len(text) - TAIL) :]
        data = text.encode("utf-8", "replace")
        self._held += size or len(data)
        self._tail += data
        if len(self._tail) > 8 * TAIL:
            del self._tail[:-TAIL]


def overwritten(text: bytes) -> tuple[bytes, bool]:
    r"""The text without what a `\r` in it overwrites, and whether its first line was started over.

    The `\r` itself stays: what was already sent of the line is for the front end to overwrite.
    """
    over, lines = False, text.split(b"\n")
    for number, line in enumerate(lines):
        body = line.rstrip(b"\r")  # before a line break a return does nothing
        returned = body.rfind(b"\r")
        if returned >= 0:
            lines[number] = b"\r" + line[returned + 1 :]
            over = over or number == 0
    return b"\n".join(lines), over


def size_of_text(text: str, start: int = 0) -> int:
    """Bytes of UTF-8, counted without a second copy of the text."""
    if text.isascii():
        return max(0, len(text) - start)
    pieces = (text[place : place + STEP] for place in range(start, len(text), STEP))
    return sum(len(piece.encode("utf-8", "replace")) for piece in pieces)


def size_of(value: Any) -> int:
    """About how many bytes a JSON value takes; 8 MB at least if it has a million entries."""
    size, looked_at = 0, 0
    inside = [iter((value,))]
    while inside:
        for entry in inside[-1]:
            looked_at += 1
            match entry:
                case str():
                    size += size_of_text(entry)
                case bytes() | bytearray() | memoryview():
                    size += (len(entry) + 2) // 3 * 4  # it travels as base64
                case dict():
                    inside += [iter(entry), iter(entry.values())]
                    break
                case list() | tuple():
                    inside.append(iter(entry))
                    break
                case _:
                    size += 8
        else:
            inside.pop()
        if looked_at > MOST_ENTRIES:
            return max(size, 8 * MOST_ENTRIES)
    return size


def ends(text: str, limit: int = FIELD) -> str:
    """The beginning and the end of a text that is too long."""
    if len(text) <= limit:
        return text
    half = max(1, limit // 2)
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


def last_lines(traceback: Any) -> list[str]:
    """The end of a traceback, where the error is."""
    lines: list[str] = []
    room = FIELD
    for line in reversed(traceback if isinstance(traceback, list) else []):
        lines.insert(0, ends(line if isinstance(line, str) else str(line)[:FIELD]))
        room -= len(lines[0])
        if room < 0 or len(lines) >= ITEMS:
            break
    return lines


def shortened(value: Any) -> Any:
    """A JSON value with long strings cut, and bounded in length, depth and as a whole."""
    room = WHOLE

    def short(value: Any, depth: int) -> Any:
        nonlocal room
        room -= 8
        match value:
            case str():
                value = ends(value, min(FIELD, max(room, 0)))
                room -= len(value)
            case dict() | list() | tuple() if depth == 0 or room < 0:
                value = "…"
            case dict():
                some = list(value.items())[:ITEMS] if len(value) > ITEMS else value.items()
                value = {short(key, 0): short(item, depth - 1) for key, item in some}
            case list() | tuple():
                value = [short(item, depth - 1) for item in value[:ITEMS]]
        return value

    return short(value, DEPTH)
