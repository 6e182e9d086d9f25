"""Stop the idle threads of OpenMP pools before a fork."""

import ctypes
from functools import cache
from typing import Any

from .fork import LIBC

OPENMP_LIBRARIES = ("libgomp", "libomp", "libiomp")


def stop_idle_threads() -> None:
    """Stop OpenMP's idle threads: a child that inherits a pool without its threads hangs in it.

    The next parallel region creates the pool again. Must be called from the main thread.
    """
    for pause in pause_functions(count_loaded_libraries()):
        pause(2)


class LibraryInfo(ctypes.Structure):
    """The C structure `dl_phdr_info`: one library, and the number of libraries ever loaded."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("header_count", ctypes.c_uint16),
        ("added", ctypes.c_ulonglong),
        ("removed", ctypes.c_ulonglong),
    )


def store_count(library: Any, _: int, count_address: int) -> int:
    """Store the number of libraries ever loaded; returns 1 to end the iteration."""
    ctypes.c_ulonglong.from_address(count_address).value = library.contents.added
    return 1


Callback = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(LibraryInfo), ctypes.c_size_t, ctypes.c_void_p
)


STORE_COUNT = Callback(store_count)


def count_loaded_libraries() -> int:
    """Return how many libraries this process has loaded so far."""
    count = ctypes.c_ulonglong()
    LIBC.dl_iterate_phdr(STORE_COUNT, ctypes.byref(count))
    return count.value


@cache
def pause_functions(_: int) -> list[Any]:
    """Return `omp_pause_resource_all` of each OpenMP library that is loaded.

    The argument is the number of libraries loaded; it only serves as the key of the cache.
    """
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {
                path
                for line in maps
                if any(name in line for name in OPENMP_LIBRARIES)
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
