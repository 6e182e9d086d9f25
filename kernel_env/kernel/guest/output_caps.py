"""Cap the output of a cell in the kernel's own process.

Without caps a cell that prints a gigabyte fills the kernel's memory several times over, and then
the host's. With them nothing accumulates:

- a stream keeps its head and its tail (`output_stream.CappedStream`);
- displays, results and errors share a budget;
- other messages are shortened or slowed down;
- IPython's own copies of all output are not made.

What is left out is counted, and a note takes its place.

An application is initialised with `outstream_class` set to `CappedStream`, then passed to
`install`. `OutputCaps.begin_cell` and `OutputCaps.end_cell` surround each cell. In a fork of the
kernel, `OutputCaps.reconnect` gives the streams new pipes, threads and locks.

Not protected: the agent's code can reach and undo all of this, or write to the sockets itself.
The host has limits of its own.
"""

import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import Any

from IPython.lib import pretty

from .output_stream import CappedStream
from .truncate import json_size, truncate_json, truncate_middle, truncate_traceback

try:
    from IPython.core.tbtools import FrameInfo
    from stack_data.core import RepeatedFrames
except ImportError:  # an older IPython, in a plain kernel: tracebacks are shown whole
    FrameInfo = None  # type: ignore[assignment,misc]

DISPLAY_BYTES = 15 * 256 * 1024
"""Bytes of a cell's displays and results together; a little less than the host accepts."""
REPR_CHARS = 256 * 1024
"""Characters kept of one object's repr; the formatter copies it several times."""
MAX_DISPLAYS = 198
"""Most displays, results and errors of a cell; the host shows 200 outputs."""
MAX_OTHERS, OTHERS_PER_S = 150, 500
"""Other messages of a cell: an initial number, then a rate that the host can read."""

MAX_FRAMES = 10
"""Frames shown of the beginning of a traceback, and as many of its end."""

SHOWN_TYPES = ("display_data", "execute_result", "update_display_data", "error")


class OutputCaps:
    """All output caps of one kernel. `send` replaces the `send` of its session."""

    def __init__(self, session: Any, streams: list[CappedStream]) -> None:
        self._session_send = session.send
        self._streams = streams
        self._reset()
        session.send = self.send

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._dropped_bytes = self._display_count = self._other_count = 0
        self._display_room = self._comm_room = DISPLAY_BYTES
        self._note_shown = False
        self._start = self._last_refill = time.monotonic()
        self._display_sizes: dict[str, int] = {}
        """Bytes of each display that can be updated, by its ID."""
        self._deferred: dict[str, tuple[Any, ...]] = {}
        """Beyond the number: the last error, and the last update of each display.

        They are sent at the end of the cell, so that the final state is shown.
        """

    def begin_cell(self) -> None:
        """Start counting for a new cell."""
        self._send_deferred()
        dropped = self._dropped_bytes
        self._reset()
        self._dropped_bytes = dropped
        for stream in self._streams:
            stream.begin_cell()

    def end_cell(self) -> dict[str, int]:
        """Return how many bytes the cell, and text since the previous cell, left out."""
        self._send_deferred()
        dropped = {stream.name: stream.end_cell() for stream in self._streams}
        dropped["display"] = self._dropped_bytes
        self._reset()
        return dropped

    def reconnect(self, pub_thread: Any) -> None:
        """Reconnect the streams in a fork, once its iopub thread runs."""
        self._reset()
        for stream in self._streams:
            stream.reconnect(pub_thread)

    def send(
        self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **options: Any
    ) -> Any:
        """Send a message, or the part of it that the caps allow."""
        is_message = isinstance(msg_or_type, dict)
        kind = msg_or_type.get("msg_type") if is_message else msg_or_type
        body = msg_or_type.get("content") if is_message else content
        name = "error"
        match kind:
            case "display_data" | "execute_result" | "update_display_data":
                body = body if isinstance(body, dict) else {}
                transient = body.get("transient")
                name = str(transient.get("display_id")) if isinstance(transient, dict) else ""
                body = self._cap_display(kind, body, name)
            case "clear_output":
                self._clear()
                self._pace()
            case "comm_open" | "comm_msg" | "comm_close":
                body = self._cap_comm(body, options)
                self._pace()
            case "error" | "execute_reply" | "execute_input" | "input_request":
                if isinstance(body, dict) and "traceback" in body:
                    body = {**body, "traceback": truncate_traceback(body["traceback"])}
                body = truncate_json(body)
                self._display_count += kind == "error"
            case _:  # streams are capped elsewhere; the rest replies to requests of the host
                return self._session_send(stream, msg_or_type, content, *args, **options)
        if body is None:
            return None
        message = {**msg_or_type, "content": body} if is_message else msg_or_type
        if self._display_count > MAX_DISPLAYS and kind in ("error", "update_display_data"):
            if name in self._deferred or len(self._deferred) < MAX_DISPLAYS:
                self._deferred[name] = (stream, message, body, args, options)
            return None
        if kind in SHOWN_TYPES:
            for text in self._streams:
                text.show_pending()
        return self._session_send(stream, message, body, *args, **options)

    def print_repr(self, value: Any, printer: Any, _: bool) -> None:
        """Print a repr as IPython does, but only the ends of a long one."""
        if type(value) in (str, bytes, bytearray) and len(value) > REPR_CHARS:
            half = REPR_CHARS // 2
            missing = f"[… {len(value) - 2 * half:,} characters left out …]"
            self._dropped_bytes += len(value) - 2 * half
            text = f"{value[:half]!r}\n{missing}\n{value[-half:]!r}"
        else:
            full = repr(value)
            text = truncate_middle(full, REPR_CHARS)
            self._dropped_bytes += max(0, len(full) - REPR_CHARS)
        with printer.group():
            for number, line in enumerate(text.splitlines()):
                if number:
                    printer.break_()
                printer.text(line)

    def _send_deferred(self) -> None:
        deferred, self._deferred = self._deferred, {}
        for stream, message, body, args, options in deferred.values():
            for text in self._streams:
                text.show_pending()
            self._session_send(stream, message, body, *args, **options)

    def _cap_display(self, kind: str, body: dict[str, Any], name: str) -> dict[str, Any] | None:
        """Return the display, a note in its place, or None."""
        data = body.get("data")
        size = json_size(data) + json_size(body.get("metadata"))
        with self._lock:
            self._display_count += 1
            update = kind == "update_display_data"
            over_limit = self._display_count > MAX_DISPLAYS and not update
            if update:
                self._display_room += self._display_sizes.pop(name, 0)
            if size <= self._display_room and not over_limit:
                self._display_room -= size
                if name:
                    self._display_sizes[name] = size
                return body
            self._dropped_bytes += size
            if over_limit and self._note_shown:
                return None
            self._note_shown = self._note_shown or over_limit
        data = data if isinstance(data, dict) else {}
        kinds = ", ".join(str(kind)[:100] for kind in list(data)[:20])
        note = f"[a display of {size:,} bytes left out: {kinds}]\n"
        if over_limit:
            note = f"[more than {MAX_DISPLAYS} displays: the others of this cell are left out]"
        elif isinstance(plain := data.get("text/plain"), str):
            note += plain[:2000]
        return {**body, "data": {"text/plain": note}, "metadata": {}}

    def _cap_comm(self, body: Any, options: dict[str, Any]) -> Any:
        """Return a widget message while there is room for it; the host shows none."""
        buffers = sum(memoryview(data).nbytes for data in options.get("buffers") or ())
        body, options["metadata"] = truncate_json(body), truncate_json(options.get("metadata"))
        self._comm_room -= json_size(body) + json_size(options["metadata"]) + buffers
        return body if self._comm_room >= 0 else None

    def _clear(self) -> None:
        """Free the room of cleared output, at most once a second, so that a loop cannot flood."""
        with self._lock:
            now = time.monotonic()
            refill = now - self._last_refill >= 1
            if refill:
                self._last_refill, self._display_room = now, DISPLAY_BYTES
                self._display_count, self._note_shown = 0, False
                self._display_sizes.clear()
        for stream in self._streams:
            stream.clear(refill=refill)

    def _pace(self) -> None:
        self._other_count += 1
        if self._other_count > MAX_OTHERS + OTHERS_PER_S * (time.monotonic() - self._start):
            time.sleep(0.001)


class EmptyHistory(defaultdict[int, Any]):
    """A history that stores nothing."""

    def __setitem__(self, key: int, value: Any) -> None:
        """Ignore the value."""

    def __missing__(self, key: int) -> Any:
        return []


def truncate_frames(records: Any, trace: TracebackType | None, *options: Any) -> list[Any]:
    """Return IPython's records of the first and last frames, and a count for those between.

    IPython searches all modules for each frame: the thousand frames of an endless recursion take
    seconds.
    """
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    if len(frames) <= 2 * MAX_FRAMES:
        return without_own(records(frames[0], *options))
    middle, first = frames[MAX_FRAMES:-MAX_FRAMES], None
    for frame in reversed(frames[:MAX_FRAMES]):
        first = TracebackType(first, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    keys = [(frame.tb_frame.f_code, frame.tb_lineno) for frame in middle]
    skipped = FrameInfo._from_stack_data_FrameInfo(RepeatedFrames(list(middle), keys))
    shown = [*records(first, *options), skipped, *records(frames[-MAX_FRAMES], *options)]
    return without_own(shown)


def without_own(records: Iterable[Any]) -> list[Any]:
    """Return the records without the frames of this package."""
    folder = os.path.dirname(__file__) + os.sep
    return [r for r in records if not str(getattr(r, "filename", "")).startswith(folder)]


def install(app: Any) -> OutputCaps:
    """Cap an application that was initialised with `CappedStream` as its `outstream_class`."""
    caps = OutputCaps(
        app.session, [s for s in (sys.stdout, sys.stderr) if isinstance(s, CappedStream)]
    )
    shell, history = app.shell, app.shell.history_manager
    # IPython keeps every printed text, every result and every error for the whole session.
    shell._tee = lambda **_: nullcontext()
    shell._format_exception_for_storage = lambda *_, **__: {}
    history.outputs, history.exceptions = EmptyHistory(), EmptyHistory()
    history.output_hist_reprs = EmptyHistory()
    show_traceback = shell._showtraceback
    shell._showtraceback = lambda *error: show_traceback(*error[:2], truncate_traceback(error[2]))
    if FrameInfo is not None:
        records = shell.InteractiveTB.get_records
        shell.InteractiveTB.get_records = partial(truncate_frames, records)
    printers = shell.display_formatter.formatters["text/plain"].type_printers
    plain = pretty._repr_pprint
    printers.update({kind: caps.print_repr for kind in printers if printers[kind] is plain})
    printers[bytes] = printers[bytearray] = caps.print_repr
    pretty._repr_pprint = caps.print_repr
    return caps
