"""Stop the idle threads of OpenMP pools before a fork."""

import ctypes
from functools import cache
from typing import Any

from .fork import LIBC

OMP_POOLS = ("libgomp", "libomp", "libiomp")


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
