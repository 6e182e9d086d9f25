"""Make the system calls of `overlay`, with errors that name the step that failed."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LINUX = sys.platform == "linux"

libc = ctypes.CDLL(None, use_errno=True)
if LINUX:
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    libc.pwrite.restype = ctypes.c_ssize_t


CHUNK_BYTES = 1 << 20
PR_SET_DUMPABLE = 4


def set_accessible(accessible: bool) -> None:
    """Set whether programs of the same user can trace this process and write to its memory.

    Forks inherit it. Without it, files in /proc/self belong to root: some cannot be written.
    """
    libc.prctl(PR_SET_DUMPABLE, int(accessible), 0, 0, 0)


@contextmanager
def step(action: str) -> Iterator[None]:
    """Prefix an `OSError` with the step that raised it."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, f"{action}: {error.strerror or error}", error.filename) from error


def check_result(action: str, result: int) -> None:
    """Raise `OSError` if a C function returned -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")
