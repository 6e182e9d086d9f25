"""Fork a process so that the fork is not a child of this process."""

import ctypes
import errno
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FORK_S = 5.0
"""Time limit for an intermediate child; one that exceeds it hangs in an at-fork handler."""


def fork_detached() -> bool:
    """Fork so that the fork is not a child of this process. Returns True in the fork.

    A process with a single thread makes a sibling. With several threads, the C library's own
    `fork` is needed, because it handles the locks that other threads hold. That `fork` only makes
    children, so such a process forks twice.

    Raises `OSError` when no process can be created.
    """
    tid_pointer = tid_address() if len(os.listdir("/proc/self/task")) == 1 else 0
    return fork_sibling(tid_pointer) if tid_pointer else double_fork()


def double_fork() -> bool:
    """Fork a grandchild and end the child between. Returns True in the grandchild.

    Uses `os.fork`, which resets the interpreter before any Python code runs in the child.
    Otherwise another thread might have requested the interpreter's lock, which no thread in the
    child would ever take. Raises `OSError`.
    """
    with no_fork_warning():
        child = os.fork()
        if child == 0:
            try:
                grandchild = os.fork()
            except OSError as error:
                os._exit(error.errno or errno.EAGAIN)
            if grandchild:
                os._exit(0)
            return True
    if error_number := wait_for_child(child):
        raise OSError(error_number, os.strerror(error_number))
    return False


@contextmanager
def no_fork_warning() -> Iterator[None]:
    """Silence the warning about a fork of a process with several threads (Python 3.12).

    `warnings.catch_warnings` would make every library show its warnings once more: the registries
    of shown warnings are cleared when the filters are changed officially.
    """
    ignore: Any = ("ignore", None, DeprecationWarning, None, 0)
    filters: Any = warnings.filters
    filters.insert(0, ignore)
    try:
        yield
    finally:
        filters.remove(ignore)


def wait_for_child(child: int) -> int:
    """Wait for a child with a time limit, as at-fork handlers of the agent run in it.

    Returns its exit code, or `ETIMEDOUT` after killing it.
    """
    deadline = time.monotonic() + FORK_S
    try:
        while not (waited := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return errno.ETIMEDOUT
            time.sleep(0.0002)
    except ChildProcessError:
        return 0  # the agent's code ignores SIGCHLD, so children are reaped automatically
    return os.waitstatus_to_exitcode(waited[1])


LIBC = ctypes.PyDLL(None, use_errno=True)
"""The C library, called without releasing the interpreter's lock."""


SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)
"""Number of the system call `clone`; other machines can order its arguments differently."""


SIBLING_FLAGS = 0x8000 | 0x01000000 | 0x00200000 | signal.SIGCHLD
"""CLONE_PARENT, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID and SIGCHLD.

The new process is a child of this process's parent, and the kernel stores its thread ID where
the C library expects it.
"""


PR_GET_TID_ADDRESS = 40


def tid_address() -> int:
    """Return the address at which the C library keeps this thread's ID; 0 where it is unknown."""
    address = ctypes.c_void_p()
    if SYS_CLONE is None or LIBC.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address)):
        return 0
    return address.value or 0


def fork_sibling(tid_pointer: int) -> bool:
    """Fork a sibling of this process. Returns True in the sibling. Raises `OSError`.

    Skips the C library's at-fork handlers: they protect locks of other threads, and there are no
    other threads. Runs Python's handlers.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = LIBC.syscall(
        *map(ctypes.c_long, (SYS_CLONE or 0, SIBLING_FLAGS, 0, 0, tid_pointer, tid_pointer))
    )
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return True
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return False
