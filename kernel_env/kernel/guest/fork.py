"""Fork a process so that the copy is not its child."""

import ctypes
import errno
import os
import signal
import time
import warnings

FORK_S = 5.0
"""A child that is not gone by then hangs in a hook of the agent's code."""


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
