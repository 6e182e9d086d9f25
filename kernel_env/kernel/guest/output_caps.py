"""Caps on what a cell can make the kernel say, where it is said: in the kernel's own process.

Without them a cell that prints a gigabyte fills the kernel's memory several times over,
and then the host's. With them nothing piles up: a stream keeps its head and its tail
(`stream.Stream`), displays, results and errors share a budget, what else is sent is
shortened or paced, and IPython's own copies of all output are not made. What is left out
is counted, and told in its place.

An application is initialised with `outstream_class` naming `Stream` here, then given to
`install`. `Caps.begin` and `Caps.finish` go around each cell. In a forked copy of the
kernel `Caps.reconnect` gives the streams new pipes, threads and locks.

Not protected: all of this is in reach of the agent's code, which can undo it, or write to
the sockets itself. The host keeps its own limits.
"""

import sys
import threading
import time
from collections import defaultdict
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import Any

from IPython.lib import pretty

from .output_stream import Stream
from .truncate import ends, last_lines, shortened, size_of

try:
    from IPython.core.tbtools import FrameInfo
    from stack_data.core import RepeatedFrames
except ImportError:  # an older IPython, in a plain kernel: tracebacks are shown whole
    FrameInfo = None  # type: ignore[assignment,misc]

DISPLAY = 15 * 256 * 1024
"""Bytes of a cell's displays and results together: a little less than the host accepts."""
REPR = 256 * 1024
"""Characters kept of one object's repr; the formatter would copy it several times."""
MOST_DISPLAYS = 198
"""Displays, results and errors of a cell; the host shows 200 outputs."""
MOST_OTHERS, OTHERS_PER_S = 150, 500
"""Other messages of a cell, at once and then by the second: no faster than a host reads."""

FRAMES = 10
"""Shown of a traceback's beginning, and as many of its end."""

SHOWN = ("display_data", "execute_result", "update_display_data", "error")


class Caps:
    """All caps of one kernel. `send` stands before its session's own."""

    def __init__(self, session: Any, streams: list[Stream]) -> None:
        self._session_send = session.send
        self._streams = streams
        self._renew()
        session.send = self.send

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._dropped = self._count = self._others = 0
        self._room = self._comm_room = DISPLAY
        self._noted = False
        self._began = self._refilled = time.monotonic()
        self._sizes: dict[str, int] = {}
        """Of each display that can be updated, what it costs now."""
        self._held: dict[str, tuple[Any, ...]] = {}
        """Beyond the number: the last error and the last update of each display.

        The last word counts, and it is said when the cell is over.
        """

    def begin(self) -> None:
        """A cell begins."""
        self._let_go()
        dropped = self._dropped
        self._renew()
        self._dropped = dropped
        for stream in self._streams:
            stream.begin()

    def finish(self) -> dict[str, int]:
        """A cell is over: bytes that it, and what went on since the one before, had left out."""
        self._let_go()
        dropped = {stream.name: stream.finish() for stream in self._streams}
        dropped["display"] = self._dropped
        self._renew()
        return dropped

    def reconnect(self, pub_thread: Any) -> None:
        """In a forked copy of the kernel, once its iopub thread runs."""
        self._renew()
        for stream in self._streams:
            stream.reconnect(pub_thread)

    def send(
        self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **options: Any
    ) -> Any:
        """Send a message, or what may be sent of it."""
        whole = isinstance(msg_or_type, dict)
        kind = msg_or_type.get("msg_type") if whole else msg_or_type
        body = msg_or_type.get("content") if whole else content
        name = "error"
        match kind:
            case "display_data" | "execute_result" | "update_display_data":
                body = body if isinstance(body, dict) else {}
                transient = body.get("transient")
                name = str(transient.get("display_id")) if isinstance(transient, dict) else ""
                body = self._displayed(kind, body, name)
            case "clear_output":
                self._clear()
                self._pace()
            case "comm_open" | "comm_msg" | "comm_close":
                body = self._comm(body, options)
                self._pace()
            case "error" | "execute_reply" | "execute_input" | "input_request":
                if isinstance(body, dict) and "traceback" in body:
                    body = {**body, "traceback": last_lines(body["traceback"])}
                body = shortened(body)
                self._count += kind == "error"
            case _:  # streams are capped already; the rest answers what the host asked
                return self._session_send(stream, msg_or_type, content, *args, **options)
        if body is None:
            return None
        message = {**msg_or_type, "content": body} if whole else msg_or_type
        if self._count > MOST_DISPLAYS and kind in ("error", "update_display_data"):
            if name in self._held or len(self._held) < MOST_DISPLAYS:
                self._held[name] = (stream, message, body, args, options)
            return None
        if kind in SHOWN:
            for text in self._streams:
                text.settle()
        return self._session_send(stream, message, body, *args, **options)

    def repr_of(self, value: Any, printer: Any, _: bool) -> None:
        """Print a repr as IPython does, but only the ends of a long one."""
        if type(value) in (str, bytes, bytearray) and len(value) > REPR:
            half = REPR // 2
            missing = f"[… {len(value) - 2 * half:,} characters left out …]"
            self._dropped += len(value) - 2 * half
            text = f"{value[:half]!r}\n{missing}\n{value[-half:]!r}"
        else:
            full = repr(value)
            text = ends(full, REPR)
            self._dropped += max(0, len(full) - REPR)
        with printer.group():
            for number, line in enumerate(text.splitlines()):
                if number:
                    printer.break_()
                printer.text(line)

    def _let_go(self) -> None:
        held, self._held = self._held, {}
        for stream, message, body, args, options in held.values():
            for text in self._streams:
                text.settle()
            self._session_send(stream, message, body, *args, **options)

    def _displayed(self, kind: str, body: dict[str, Any], name: str) -> dict[str, Any] | None:
        """The display, a note in its place, or nothing."""
        data = body.get("data")
        size = size_of(data) + size_of(body.get("metadata"))
        with self._lock:
            self._count += 1
            update = kind == "update_display_data"
            beyond = self._count > MOST_DISPLAYS and not update
            if update:
                self._room += self._sizes.pop(name, 0)
            if size <= self._room and not beyond:
                self._room -= size
                if name:
                    self._sizes[name] = size
                return body
            self._dropped += size
            if beyond and self._noted:
                return None
            self._noted = self._noted or beyond
        data = data if isinstance(data, dict) else {}
        kinds = ", ".join(str(kind)[:100] for kind in list(data)[:20])
        note = f"[a display of {size:,} bytes left out: {kinds}]\n"
        if beyond:
            note = f"[more than {MOST_DISPLAYS} displays: the others of this cell are left out]"
        elif isinstance(plain := data.get("text/plain"), str):
            note += plain[:2000]
        return {**body, "data": {"text/plain": note}, "metadata": {}}

    def _comm(self, body: Any, options: dict[str, Any]) -> Any:
        """A message between widgets while there is room for it. Our host shows none of them."""
        buffers = sum(memoryview(data).nbytes for data in options.get("buffers") or ())
        body, options["metadata"] = shortened(body), shortened(options.get("metadata"))
        self._comm_room -= size_of(body) + size_of(options["metadata"]) + buffers
        return body if self._comm_room >= 0 else None

    def _clear(self) -> None:
        """What is cleared makes room, once a second: a loop must not send without end."""
        with self._lock:
            now = time.monotonic()
            refill = now - self._refilled >= 1
            if refill:
                self._refilled, self._room = now, DISPLAY
                self._count, self._noted = 0, False
                self._sizes.clear()
        for stream in self._streams:
            stream.clear(refill=refill)

    def _pace(self) -> None:
        self._others += 1
        if self._others > MOST_OTHERS + OTHERS_PER_S * (time.monotonic() - self._began):
            time.sleep(0.001)


class Forgetful(defaultdict[int, Any]):
    """A history that keeps nothing."""

    def __setitem__(self, key: int, value: Any) -> None:
        """Let it go."""

    def __missing__(self, key: int) -> Any:
        return []


def ends_of_trace(records: Any, trace: TracebackType | None, *options: Any) -> list[Any]:
    """What IPython shows of a traceback's first and last frames; between them, only a count.

    For each frame it looks through all modules: a thousand, of endless recursion, take seconds.
    """
    chain = []
    while trace is not None:
        chain.append(trace)
        trace = trace.tb_next
    if len(chain) <= 2 * FRAMES:
        return list(records(chain[0], *options))
    middle, first = chain[FRAMES:-FRAMES], None
    for frame in reversed(chain[:FRAMES]):
        first = TracebackType(first, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    keys = [(frame.tb_frame.f_code, frame.tb_lineno) for frame in middle]
    between = FrameInfo._from_stack_data_FrameInfo(RepeatedFrames(list(middle), keys))
    return [*records(first, *options), between, *records(chain[-FRAMES], *options)]


def install(app: Any) -> Caps:
    """Cap an application that was initialised with `Stream` as its `outstream_class`."""
    caps = Caps(app.session, [s for s in (sys.stdout, sys.stderr) if isinstance(s, Stream)])
    shell, history = app.shell, app.shell.history_manager
    # IPython keeps every text that is printed, every result's and every error's, for ever.
    shell._tee = lambda **_: nullcontext()
    shell._format_exception_for_storage = lambda *_, **__: {}
    history.outputs, history.exceptions = Forgetful(), Forgetful()
    history.output_hist_reprs = Forgetful()
    show = shell._showtraceback
    shell._showtraceback = lambda *error: show(*error[:2], last_lines(error[2]))
    if FrameInfo is not None:
        records = shell.InteractiveTB.get_records
        shell.InteractiveTB.get_records = partial(ends_of_trace, records)
    printers = shell.display_formatter.formatters["text/plain"].type_printers
    plain = pretty._repr_pprint
    printers.update({kind: caps.repr_of for kind in printers if printers[kind] is plain})
    printers[bytes] = printers[bytearray] = caps.repr_of
    pretty._repr_pprint = caps.repr_of
    return caps
