"""Cap standard output and error of a kernel: text from `print` and from programs.

    print ----------------------+
    os.write(1), programs - pipe +- StreamCap - PendingText - iopub thread - host

Text written to the descriptor is read from its pipe before any other text is added, so the order
is kept. A child that the agent's code forks writes to the descriptor, and so through the same cap.
Between two cells, threads and programs have the same budget as a cell; what it leaves out is
reported with the next cell.

Unlike in ipykernel, the real standard error does not repeat what programs write.
"""

import codecs
import fcntl
import os
import select
import sys
import termios
import threading
from collections import defaultdict
from collections.abc import Callable
from io import StringIO
from os import getpid
from typing import Any

from ipykernel.iostream import OutStream

from .truncate import CHUNK_CHARS, HEAD_BYTES, StreamCap, apply_carriage_returns

MAX_FLUSHES = 100
"""Flushes of a stream per cell that are immediate; later ones are sent every 0.2 s."""
NO_BYTES = bytes(4)

Header = frozenset[tuple[str, Any]]


class PendingText(StringIO):
    """The text of a stream that waits for the next flush."""

    limit = 2 * HEAD_BYTES

    def write(self, text: str, /) -> int:
        """Add a text; once it has grown large, remove what carriage returns overwrote."""
        written = super().write(text)
        if self.tell() > self.limit:
            visible = apply_carriage_returns(self.getvalue().encode())[0].decode()
            self.seek(0)
            self.truncate()
            super().write(visible)
            self.limit = 2 * (HEAD_BYTES + len(visible))
        return written


class CappedStream(OutStream):
    """Standard output or error of the kernel, capped."""

    _fid: int | None
    _buffers: defaultdict[Header, StringIO]

    def __init__(self, session: Any, pub_thread: Any, name: str, **options: Any) -> None:
        self._init_state(name)
        super().__init__(session, pub_thread, name, **options)  # type: ignore[no-untyped-call]

    def _init_state(self, name: str) -> None:
        self._cap = StreamCap(name)
        self._unreported = 0
        """Bytes left out since the last cell that reported them."""
        self._last_header: Header = frozenset()
        """The header of the last cell, to which text between cells belongs."""
        self._flushes = MAX_FLUSHES
        self._is_sending = False
        self._child_line = ""
        self._poll_pipe: Callable[[int], Any] = lambda _: ()
        """Polls the pipe for unread text; takes a quarter of a microsecond."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, string: str) -> int:
        """Show as much of the text as the cell's budget allows."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string)}")
        if self.pub_thread is None:
            raise ValueError("I/O operation on closed file")
        if getpid() != self._master_pid:
            self._write_from_child(string)
            return len(string)
        with self._buffer_lock:
            if self._poll_pipe(0):
                self._read_pipe()
            if shown := self._cap.take(string):
                self._append(shown)
        if self._buffers:
            self._flush_later()
        return len(string)

    def flush(self) -> None:
        """Send all text written so far, and wait until it has been sent."""
        if getpid() != self._master_pid:
            self._write_from_child("", end=True)
            return
        with self._buffer_lock:
            self._read_pipe()
        if not self._buffers and not self._is_sending:  # in this order: see _flush
            return
        if self._flushes > 0:
            self._flushes -= 1
            self._flush_now()
        else:
            self._flush_later()

    def begin_cell(self) -> None:
        """Start a new cell: text since the last cell is assigned to the last cell."""
        with self._buffer_lock:
            self._read_pipe(self._last_header)
            self._append(self._cap.remainder(last=True), self._last_header)
            self._reset_cap()
        if self._buffers:
            self._flush_later()

    def end_cell(self) -> int:
        """End the cell: show its tail and return the bytes left out since the last report."""
        with self._buffer_lock:
            self._read_pipe()
            self._append(self._cap.remainder(last=True))
            self._reset_cap()
            self._last_header = frozenset(self.parent_header.items())
            unreported, self._unreported = self._unreported, 0
        self._flush_now()
        return unreported

    def show_pending(self) -> None:
        """Show all text so far, because a display or an error is about to follow it."""
        if getpid() != self._master_pid:
            return
        with self._buffer_lock:
            self._read_pipe()
            self._append(self._cap.remainder(last=False))
        if self._buffers or self._is_sending:
            self._flush_now()

    def clear(self, *, refill: bool) -> None:
        """Reset the cap, because the front end is about to clear the cell's output."""
        if getpid() != self._master_pid:
            return
        with self._buffer_lock:
            self._read_pipe()
            self._cap.clear(refill=refill)
        if self._buffers or self._is_sending:
            self._flush_now()

    def reconnect(self, pub_thread: Any) -> None:
        """Create new pipe, thread, lock and buffers in a fork of the kernel.

        The caller closes the inherited end of the old pipe.
        """
        self._init_state(self.name)
        if self._should_watch:
            self._fid, writing = os.pipe()
            os.dup2(writing, self._original_stdstream_fd)
            os.close(writing)
            self._set_up_poll(self._fid)
        self.pub_thread = pub_thread
        self._io_loop = pub_thread.io_loop
        self._master_pid = getpid()
        self._flush_pending = self._subprocess_flush_pending = False
        self._buffer_lock = threading.RLock()
        self._buffers = defaultdict(PendingText)
        self._local = threading.local()
        if self._should_watch:
            self.watch_fd_thread = threading.Thread(target=self._watch_pipe_fd, daemon=True)
            self.watch_fd_thread.start()

    def _flush_later(self) -> None:
        self._schedule_flush()  # type: ignore[no-untyped-call]

    def _flush_now(self) -> None:
        super().flush()  # type: ignore[no-untyped-call]

    def _reset_cap(self) -> None:
        self._unreported += self._cap.dropped
        self._cap = StreamCap(self.name)
        self._flushes = MAX_FLUSHES

    def _setup_stream_redirects(self, name: str) -> None:
        super()._setup_stream_redirects(name)  # type: ignore[no-untyped-call]
        self._set_up_poll(self._fid)

    def _set_up_poll(self, pipe: int | None) -> None:
        if pipe is not None:
            poller = select.poll()
            poller.register(pipe, select.POLLIN)
            self._poll_pipe = poller.poll

    def _read_pipe(self, header: Header | None = None) -> None:
        """Read what has been written to the descriptor until now."""
        if self._fid is None:
            return
        try:
            available = fcntl.ioctl(self._fid, termios.FIONREAD, NO_BYTES)
            if available != NO_BYTES:
                data = os.read(self._fid, int.from_bytes(available, sys.byteorder))
                self._append_capped(self._decoder.decode(data), header)
        except OSError:  # the agent's code closed it
            self._fid = None

    def _append_capped(self, text: str, header: Header | None = None) -> None:
        self._append(self._cap.take(text), header)

    def _append(self, text: str, header: Header | None = None) -> None:
        if text:
            header = frozenset(self.parent_header.items()) if header is None else header
            self._buffers[header].write(text)

    def _watch_pipe_fd(self) -> None:
        """Read the pipe when nothing else does. Runs in its own thread."""
        pipe, poller = self._fid, select.poll()
        if pipe is None:
            return
        poller.register(pipe, select.POLLIN)
        try:
            while self._should_watch and pipe == self._fid:
                if not poller.poll()[0][1] & select.POLLIN:
                    break
                with self._buffer_lock:
                    self._read_pipe()
                if self._buffers:
                    self._flush_later()
        except Exception:  # noqa: BLE001 - as in ipykernel: reported when the stream is closed
            self._exc = sys.exc_info()

    def _flush(self) -> None:
        """Send, in the iopub thread. Threads that find the buffers empty check `_is_sending`."""
        self._is_sending = True
        try:
            super()._flush()  # type: ignore[no-untyped-call]
        finally:
            self._is_sending = False

    def _rotate_buffers(self) -> defaultdict[Header, StringIO]:
        with self._buffer_lock:
            full, self._buffers = self._buffers, defaultdict(PendingText)
        return full

    def _write_from_child(self, text: str, *, end: bool = False) -> None:
        """Write whole lines to the parent's pipe: an inherited lock may never be released."""
        if "\n" not in text and not end and len(text) + len(self._child_line) < CHUNK_CHARS:
            self._child_line += text
            return
        for part in (self._child_line, text):
            for start in range(0, len(part), CHUNK_CHARS):
                data = part[start : start + CHUNK_CHARS].encode("utf-8", "backslashreplace")
                while data:
                    data = data[os.write(self._original_stdstream_fd, data) :]
        self._child_line = ""
