"""A standby: a copy of a kernel at rest that only waits, until the host copies it or wakes it.

Every kernel that serves was once a standby, and every standby a fork: of the template,
of a live kernel between two cells, or of another standby. It has one thread, no ZMQ, no
signals and one connection, which the host holds. So there are two movements and no more:

    live kernel ──copy──▶ standby       after a cell, while the agent thinks
    standby     ──copy──▶ standby ──serve──▶ live kernel

What does not survive a fork: other threads, pools of threads and processes, tasks of
the event loop, connections, CUDA contexts. Positions in open files are put back.
"""

import gc
import os
import random
import signal
import stat
from asyncio import tasks
from typing import Any

from . import overlay
from .control_channel import ControlChannel
from .descriptors import Opened, descriptors, identity, reopen, socket_name
from .fork import fork_away
from .random_state import reseed

EVERY_SIGNAL = signal.valid_signals()
DIES_FIRST, DIES_LAST = 1000, 0
"""Scores for the kernel's memory killer: the running kernel goes before its standbys."""

kept_for_ever: list[Any] = []
"""What belongs to the threads, loops and sockets of processes we were copied from. If it were
collected here it would close numbers that have new owners, or speak on its old connections."""


class Standby:
    """What this process knows of itself as a copy."""

    def __init__(self, line: ControlChannel) -> None:
        self.line = line
        self.pid = os.getpid()
        self.collecting = False
        """Whether garbage is to be collected again once this copy serves. While it waits, nothing
        may be: what belonged to other processes would speak."""
        self.plumbing: dict[int, tuple[int, int]] = {}
        """Descriptors the kernel opened for itself, and what they stood for then: a copy closes
        them, unless the number stands for something else by now."""
        self.names: str = ""
        """How the host's names of this kernel's sockets begin."""
        self.files: dict[int, Opened] = {}
        """The files that were open when the live kernel was copied, by descriptor."""
        self.mask: set[Any] | None = None
        """While it waits: the signals that were blocked when the live kernel was copied."""

    def copy(self, descriptor: int, also: list[int] | None = None) -> bool:
        """Fork. True in the copy, which from then on waits at the other end of `descriptor`.

        The copy is a child of the box's first process and not of this one, so code that waits
        for or ends all its children does not meet it. `also`: more plumbing that a copy closes.
        The descriptor is closed here in any case. Raises `OSError` when no process can be made.
        """
        drawn, collecting, copied = random.getstate(), gc.isenabled(), False
        try:
            gc.disable()
            copied = fork_away()
        finally:
            if not copied:
                os.close(descriptor)
                if collecting:
                    gc.enable()
        if not copied:
            return False
        self.collecting = self.collecting or collecting
        random.setstate(drawn)  # the module starts anew in every child
        try:
            kept_for_ever.append(list(tasks._all_tasks))  # type: ignore[attr-defined]
            self._settle(ControlChannel(descriptor), also or [])
        except BaseException:  # noqa: BLE001 - a copy never goes on as its original
            os._exit(70)
        return True

    def _settle(self, line: ControlChannel, also: list[int]) -> None:
        """The first thing a copy does: out of reach of signals, free of the original's plumbing."""
        self.pid = os.getpid()
        os.setsid()
        signal.set_wakeup_fd(-1)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
        self.mask = blocked if self.mask is None else self.mask  # an original that waits blocks all
        score(DIES_LAST)
        self.line.close()
        self._close_plumbing(line.socket.fileno(), also)
        self.line, self.plumbing = line, {}
        line.say({"pid": os.getpid()})

    def _close_plumbing(self, mine: int, also: list[int]) -> None:
        """Close what clients and threads of the original are connected by.

        Event descriptors of unknown owners become /dev/null: a later close by their owner is
        then harmless.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in descriptors() - {mine, null, 0, 1, 2}:
            try:
                if descriptor in also or self.plumbing.get(descriptor) == identity(descriptor):
                    os.close(descriptor)
                elif stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    if self.names and socket_name(descriptor).startswith(self.names):
                        os.close(descriptor)
                elif os.readlink(f"/proc/self/fd/{descriptor}").startswith("anon_inode:[event"):
                    os.dup2(null, descriptor, inheritable=False)
            except OSError:
                continue
        for descriptor in (1, 2):  # they were pipes to threads that are not here
            os.dup2(null, descriptor)
        os.close(null)

    def wait(self) -> dict[str, Any]:
        """Do what the host asks until it asks to serve; end when it lets go."""
        while request := self.line.hear():
            try:
                match request["do"]:
                    case "copy":
                        if not self.copy(*request["fds"]):
                            self.line.answer(request)
                    case "enter":
                        overlay.enter(request["layers"])
                        self.rewind()
                        reseed(request["seed"])
                        self.line.answer(request)
                    case "probe":
                        self.line.answer(request, why=overlay.possible(request["folder"]))
                    case "rewind":
                        self.rewind()
                        self.line.answer(request)
                    case "serve":
                        return request
                    case unknown:
                        raise OSError(f"a standby cannot {unknown}")
            except OSError as error:
                self.line.answer(request, error=error.strerror or str(error))
        os._exit(0)

    def rewind(self) -> None:
        """Positions in open files are shared with the original: put them back.

        A file that was deleted since, and is there again because the files were put back, is
        opened again: what is written must not go to the deleted one.
        """
        for descriptor, opened in self.files.items():
            try:
                if opened.named and os.fstat(descriptor).st_nlink == 0:
                    reopen(descriptor, opened.path)
                os.lseek(descriptor, opened.position, os.SEEK_SET)
            except OSError:
                continue

    def wake(self, request: dict[str, Any]) -> None:
        """Be ready to run the agent's code again, as it was when this copy was made."""
        self.rewind()
        for number in signal.sigpending():
            handler = signal.getsignal(number)
            try:
                signal.signal(number, signal.SIG_IGN)  # forgets what came while it waited
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            except (OSError, ValueError, TypeError):
                continue
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask or ())
        self.mask = None
        score(DIES_FIRST)
        self.names = request["names"]
        reseed(request["seed"])


def score(value: int) -> None:
    """How soon the memory killer takes this process. Needs no privilege within 0 … 1000."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(value))
    except OSError:
        pass
