"""A standby: a copy of a kernel at rest that only waits, until the host copies it or wakes it.

Every kernel that serves was once a standby, and every standby a fork: of the template,
of a live kernel between two cells, or of another standby. It has one thread, no ZMQ, no
signals and one connection, which the host holds. So there are two movements and no more:

    live kernel ──copy──▶ standby       after a cell, while the agent thinks
    standby     ──copy──▶ standby ──serve──▶ live kernel

What does not survive a fork: other threads, pools of threads and processes, tasks of
the event loop, connections, CUDA contexts. Positions in open files are put back.
"""

import ctypes
import errno
import fcntl
import gc
import os
import random
import signal
import socket
import stat
import sys
import time
import warnings
from asyncio import tasks
from functools import cache
from typing import Any, NamedTuple

from . import overlay
from .line import Line

EVERY_SIGNAL = signal.valid_signals()
OMP_POOLS = ("libgomp", "libomp", "libiomp")
FORK_S = 5.0
"""A child that is not gone by then hangs in a hook of the agent's code."""
DIES_FIRST, DIES_LAST = 1000, 0
"""Scores for the kernel's memory killer: the running kernel goes before its standbys."""

kept_for_ever: list[Any] = []
"""What belongs to the threads, loops and sockets of processes we were copied from. If it were
collected here it would close numbers that have new owners, or speak on its old connections."""


class Standby:
    """What this process knows of itself as a copy."""

    def __init__(self, line: Line) -> None:
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
            self._settle(Line(descriptor), also or [])
        except BaseException:  # noqa: BLE001 - a copy never goes on as its original
            os._exit(70)
        return True

    def _settle(self, line: Line, also: list[int]) -> None:
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


def fork_away() -> bool:
    """Fork so that the copy is nobody's child here. True in the copy.

    A process of one thread makes a sibling of itself. In others the C library must see to the
    locks that other threads hold, and its own fork knows children only: so they fork twice.

    Raises `OSError` when a process cannot be made.
    """
    alone = tid_address() if len(os.listdir("/proc/self/task")) == 1 else 0
    return fork_beside(alone) if alone else fork_twice()


def fork_twice() -> bool:
    """Make a grandchild and end the child. True in the grandchild. Raises `OSError`.

    By `os.fork`, which sees to the interpreter before a line of Python runs in a child: another
    thread may just have asked for the interpreter's lock, and there nobody would ever take it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks of many threads, and is right
        between = os.fork()
        if between == 0:
            try:
                copy = os.fork()
            except OSError as error:
                os._exit(error.errno or errno.EAGAIN)
            if copy:
                os._exit(0)
            return True
    if failed := exit_code(between):
        raise OSError(failed, os.strerror(failed))
    return False


def exit_code(child: int) -> int:
    """Wait for a child to end, but not for ever: the agent's hooks run in it."""
    deadline = time.monotonic() + FORK_S
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return errno.ETIMEDOUT
            time.sleep(0.0002)
    except ChildProcessError:
        return 0  # the agent's code asked that its children be forgotten
    return os.waitstatus_to_exitcode(ended[1])


LIBC = ctypes.PyDLL(None, use_errno=True)
"""Called without letting go of the interpreter's lock."""
CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)
"""The number of the system call; elsewhere its arguments may stand in another order."""
BESIDE = 0x8000 | 0x01000000 | 0x00200000 | signal.SIGCHLD
"""A child of this process's parent, which the C library may tell the number of its thread."""
GET_TID_ADDRESS = 40


def tid_address() -> int:
    """Where the C library keeps the number of this thread; 0 where that cannot be known."""
    address = ctypes.c_void_p()
    if CLONE is None or LIBC.prctl(GET_TID_ADDRESS, ctypes.byref(address)):
        return 0
    return address.value or 0


def fork_beside(tid: int) -> bool:
    """Make a sibling. True in the sibling. Raises `OSError`.

    The C library's handlers are for what other threads hold, and there are none. Python's are run.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    number = LIBC.syscall(*map(ctypes.c_long, (CLONE or 0, BESIDE, 0, 0, tid, tid)))
    if number == 0:
        python.PyOS_AfterFork_Child()
        return True
    python.PyOS_AfterFork_Parent()
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return False


def pause_omp() -> None:
    """End OpenMP's idle threads: a child that inherits a pool without its threads hangs in it.

    The next parallel region makes the pool anew. Must be called from the main thread.
    """
    for pause in omp_pauses(libraries_loaded()):
        pause(2)


class Loaded(ctypes.Structure):
    """`struct dl_phdr_info`: a library, and how many were ever loaded."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("header_count", ctypes.c_uint16),
        ("added", ctypes.c_ulonglong),
        ("removed", ctypes.c_ulonglong),
    )


def keep_count(loaded: Any, _: int, given: int) -> int:
    """Keep the number of libraries; 1: look no further."""
    ctypes.c_ulonglong.from_address(given).value = loaded.contents.added
    return 1


Look = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.POINTER(Loaded), ctypes.c_size_t, ctypes.c_void_p)
LOOK = Look(keep_count)


def libraries_loaded() -> int:
    """How many libraries this process has loaded so far, in any way."""
    count = ctypes.c_ulonglong()
    LIBC.dl_iterate_phdr(LOOK, ctypes.byref(count))
    return count.value


@cache
def omp_pauses(_: int) -> list[Any]:
    """The function that ends idle threads, of each OpenMP library among the first so many."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {
                path
                for line in maps
                if any(name in line for name in OMP_POOLS)
                and (path := line.split(maxsplit=5)[5].strip()).startswith("/")
            }
    except OSError:
        return []
    found = []
    for path in paths:
        try:
            found.append(ctypes.CDLL(path).omp_pause_resource_all)
        except (OSError, AttributeError):
            continue
    return found


def reseed(seed: int | None) -> None:
    """The global random states of the libraries that are loaded; None leaves them."""
    if seed is None:
        return
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % (1 << 32))
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def score(value: int) -> None:
    """How soon the memory killer takes this process. Needs no privilege within 0 … 1000."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(value))
    except OSError:
        pass


def descriptors() -> set[int]:
    """The numbers that are open in this process."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    listed = map(int, os.listdir(folder))
    return {number for number in listed if is_open(number)}  # the list itself was read from one


def identity(descriptor: int) -> tuple[int, int]:
    """What a descriptor stands for: a device and a number on it. Raises `OSError`."""
    s = os.fstat(descriptor)
    return s.st_dev, s.st_ino


def identities(numbers: set[int]) -> dict[int, tuple[int, int]]:
    """What each of these descriptors stands for, as far as it is still open."""
    found = {}
    for descriptor in numbers:
        try:
            found[descriptor] = identity(descriptor)
        except OSError:
            continue
    return found


def is_open(descriptor: int) -> bool:
    """Whether the number stands for something now."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def socket_name(descriptor: int) -> str:
    """The name that a unix socket is bound to."""
    copy = socket.socket(fileno=os.dup(descriptor))
    try:
        name = copy.getsockname() if copy.family == socket.AF_UNIX else ""
        return name if isinstance(name, str) else ""
    finally:
        copy.close()


class Opened(NamedTuple):
    """A regular file that is being read or written."""

    path: str
    named: bool
    """Whether it could be found by its path; a deleted file cannot."""
    position: int


def open_files() -> dict[int, Opened]:
    """The regular files that are open, by descriptor."""
    found = {}
    for descriptor in descriptors():
        try:
            s = os.fstat(descriptor)
            if stat.S_ISREG(s.st_mode):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                position = os.lseek(descriptor, 0, os.SEEK_CUR)
                found[descriptor] = Opened(path, s.st_nlink > 0, position)
        except OSError:
            continue
    return found


def reopen(descriptor: int, path: str) -> None:
    """Open the file that is at a path now at the same number. Raises `OSError`."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)
