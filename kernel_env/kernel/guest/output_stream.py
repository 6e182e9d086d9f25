r"""Standard output and error of a kernel, capped: what `print` and what programs write.

    print ───────────────────────┐
    os.write(1), programs ─ pipe ┴─ Cap ─ Unsent ─ iopub thread ─ host

Text that was written to the descriptor is taken from its pipe before any other text is
added, so all keeps its order. A child that was forked by the agent's code writes to the
descriptor, and so through the same cap. Between two cells threads and programs have a
budget like a cell's; what it leaves out is told with the next cell.

The kernel's log on its real standard error no longer repeats what programs write.
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

from .truncate import HEAD, STEP, Cap, overwritten

MOST_FLUSHES = 100
"""Times that a cell is obeyed when it flushes a stream; then text goes out every 0.2 s."""
NOTHING = bytes(4)

Header = frozenset[tuple[str, Any]]


class Unsent(StringIO):
    """The text of a stream that waits for the next flush, however often it overwrites itself."""

    limit = 2 * HEAD

    def write(self, text: str, /) -> int:
        """Add a text; when much has gathered, what was overwritten is forgotten."""
        written = super().write(text)
        if self.tell() > self.limit:
            seen = overwritten(self.getvalue().encode())[0].decode()
            self.seek(0)
            self.truncate()
            super().write(seen)
            self.limit = 2 * (HEAD + len(seen))
        return written


class Stream(OutStream):
    """Standard output or error of the kernel, capped."""

    _fid: int | None
    _buffers: defaultdict[Header, StringIO]

    def __init__(self, session: Any, pub_thread: Any, name: str, **options: Any) -> None:
        self._clean(name)
        super().__init__(session, pub_thread, name, **options)  # type: ignore[no-untyped-call]

    def _clean(self, name: str) -> None:
        self._cap = Cap(name)
        self._owed = 0
        """Bytes left out since the last cell that could tell."""
        self._before: Header = frozenset()
        """The header of the last cell, to which text between cells belongs."""
        self._flushes = MOST_FLUSHES
        self._sending = False
        self._child_line = ""
        self._written: Callable[[int], Any] = lambda _: ()
        """Asks, in a quarter of a microsecond, whether anything was written to the descriptor."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, string: str) -> int:
        """Show as much of the text as the cell may still show."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string)}")
        if self.pub_thread is None:
            raise ValueError("I/O operation on closed file")
        if getpid() != self._master_pid:
            self._write_from_child(string)
            return len(string)
        with self._buffer_lock:
            if self._written(0):
                self._pull()
            if shown := self._cap.take(string):
                self._put(shown)
        if self._buffers:
            self._soon()
        return len(string)

    def flush(self) -> None:
        """Send what was written, and wait until it is on its way."""
        if getpid() != self._master_pid:
            self._write_from_child("", ends_here=True)
            return
        with self._buffer_lock:
            self._pull()
        if not self._buffers and not self._sending:  # in this order: see _flush
            return
        if self._flushes > 0:
            self._flushes -= 1
            self._now()
        else:
            self._soon()

    def begin(self) -> None:
        """A cell begins: what came since the last one belongs to that one."""
        with self._buffer_lock:
            self._pull(self._before)
            self._put(self._cap.rest(last=True), self._before)
            self._renew()
        if self._buffers:
            self._soon()

    def finish(self) -> int:
        """The cell is over: show its end. How many bytes were left out since the last time."""
        with self._buffer_lock:
            self._pull()
            self._put(self._cap.rest(last=True))
            self._renew()
            self._before = frozenset(self.parent_header.items())
            owed, self._owed = self._owed, 0
        self._now()
        return owed

    def settle(self) -> None:
        """Something else is about to be shown: show before it what came before it."""
        if getpid() != self._master_pid:
            return
        with self._buffer_lock:
            self._pull()
            self._put(self._cap.rest(last=False))
        if self._buffers or self._sending:
            self._now()

    def clear(self, *, refill: bool) -> None:
        """The front end is about to be told to clear what the cell has shown until now."""
        if getpid() != self._master_pid:
            return
        with self._buffer_lock:
            self._pull()
            self._cap.clear(refill=refill)
        if self._buffers or self._sending:
            self._now()

    def reconnect(self, pub_thread: Any) -> None:
        """In a forked copy of the kernel: a new pipe, threads, locks and buffers; nothing said yet.

        The inherited end of the old pipe is the caller's to close.
        """
        self._clean(self.name)
        if self._should_watch:
            self._fid, writing = os.pipe()
            os.dup2(writing, self._original_stdstream_fd)
            os.close(writing)
            self._look_at(self._fid)
        self.pub_thread = pub_thread
        self._io_loop = pub_thread.io_loop
        self._master_pid = getpid()
        self._flush_pending = self._subprocess_flush_pending = False
        self._buffer_lock = threading.RLock()
        self._buffers = defaultdict(Unsent)
        self._local = threading.local()
        if self._should_watch:
            self.watch_fd_thread = threading.Thread(target=self._watch_pipe_fd, daemon=True)
            self.watch_fd_thread.start()

    def _soon(self) -> None:
        self._schedule_flush()  # type: ignore[no-untyped-call]

    def _now(self) -> None:
        super().flush()  # type: ignore[no-untyped-call]

    def _renew(self) -> None:
        self._owed += self._cap.dropped
        self._cap = Cap(self.name)
        self._flushes = MOST_FLUSHES

    def _setup_stream_redirects(self, name: str) -> None:
        super()._setup_stream_redirects(name)  # type: ignore[no-untyped-call]
        self._look_at(self._fid)

    def _look_at(self, pipe: int | None) -> None:
        if pipe is not None:
            looking = select.poll()
            looking.register(pipe, select.POLLIN)
            self._written = looking.poll

    def _pull(self, header: Header | None = None) -> None:
        """Take what has been written to the descriptor until now."""
        if self._fid is None:
            return
        try:
            waiting = fcntl.ioctl(self._fid, termios.FIONREAD, NOTHING)
            if waiting != NOTHING:
                data = os.read(self._fid, int.from_bytes(waiting, sys.byteorder))
                self._take(self._decoder.decode(data), header)
        except OSError:  # the agent's code closed it
            self._fid = None

    def _take(self, text: str, header: Header | None = None) -> None:
        self._put(self._cap.take(text), header)

    def _put(self, text: str, header: Header | None = None) -> None:
        if text:
            header = frozenset(self.parent_header.items()) if header is None else header
            self._buffers[header].write(text)

    def _watch_pipe_fd(self) -> None:
        """Take from the pipe what nothing else takes first. Runs in a thread of its own."""
        pipe, ready = self._fid, select.poll()
        if pipe is None:
            return
        ready.register(pipe, select.POLLIN)
        try:
            while self._should_watch and pipe == self._fid:
                if not ready.poll()[0][1] & select.POLLIN:
                    break
                with self._buffer_lock:
                    self._pull()
                if self._buffers:
                    self._soon()
        except Exception:  # noqa: BLE001 - as upstream: told when the stream is closed
            self._exc = sys.exc_info()

    def _flush(self) -> None:
        """Send, in the iopub thread. Others who find the buffers empty must know that it does."""
        self._sending = True
        try:
            super()._flush()  # type: ignore[no-untyped-call]
        finally:
            self._sending = False

    def _rotate_buffers(self) -> defaultdict[Header, StringIO]:
        with self._buffer_lock:
            full, self._buffers = self._buffers, defaultdict(Unsent)
        return full

    def _write_from_child(self, text: str, *, ends_here: bool = False) -> None:
        """Write whole lines to the pipe to the parent: a lock copied from it may never open."""
        if "\n" not in text and not ends_here and len(text) + len(self._child_line) < STEP:
            self._child_line += text
            return
        for part in (self._child_line, text):
            for start in range(0, len(part), STEP):
                data = part[start : start + STEP].encode("utf-8", "replace")
                while data:
                    data = data[os.write(self._original_stdstream_fd, data) :]
        self._child_line = ""
