"""Write in advance to the pages that every cell writes, while the agent is thinking.

After a fork all memory is shared, and the first write to a page copies it. A cell that does nothing
writes to almost two thousand pages (reference counts are stored in the objects they count), and
the agent would wait for these page faults. To learn which pages these are, this module looks,
before some of the first forks, at the pages that no other process shares: they were written since
the last fork. From then on they are copied in advance, right after each fork.
"""

import ctypes
import mmap
import os
import re
from collections.abc import Iterator

OBSERVATIONS = 3
"""A page written before each of this many forks counts as written by every cell."""
MAX_SCANNED_PAGES = 1 << 17
"""Most pages scanned, smallest memory areas first: large arrays are not written by every cell."""
MAX_PAGES = 1 << 12
"""Most pages copied in advance; cells that write more do so because of their own data."""
PRIVATE_PAGES = re.compile(b"\x81+")
"""The highest byte of entries of /proc/self/pagemap for pages that are present, belong to no
file, and are mapped by no other process.
"""
ENTRY_BYTES = 8
MADV_POPULATE_WRITE = 23
"""Linux 5.14 and newer; older kernels refuse it, and nothing is gained."""

madvise = ctypes.PyDLL(None).madvise
madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Prefault:
    """Learns the pages that one kernel always writes, and copies them in advance."""

    def __init__(self) -> None:
        self.observations = 0
        self.pages: set[int] = set()
        self.ranges: list[tuple[int, int]] = []
        """Address and length in bytes of the memory that is copied in advance."""

    def learn(self) -> None:
        """Record the pages written since the last fork, until enough forks were observed."""
        if self.observations == OBSERVATIONS:
            return
        self.observations += 1
        try:
            written = set(written_pages())
        except Exception:  # noqa: BLE001 - no /proc or no free descriptor: do without
            return
        self.pages = written if self.observations == 1 else self.pages & written
        if self.observations == OBSERVATIONS and len(self.pages) <= MAX_PAGES:
            self.ranges = [(n * mmap.PAGESIZE, mmap.PAGESIZE * m) for n, m in runs(self.pages)]

    def populate(self) -> None:
        """Copy the pages that every cell writes, without changing their content."""
        for address, length in self.ranges:
            madvise(address, length, MADV_POPULATE_WRITE)


def written_pages() -> Iterator[int]:
    """Yield the numbers of the pages that this process has written since the last fork.

    Raises `OSError`.
    """
    remaining = MAX_SCANNED_PAGES
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for count, first in sorted(writable_areas()):
            if count > remaining:
                return
            remaining -= count
            entries = os.pread(pagemap, count * ENTRY_BYTES, first * ENTRY_BYTES)
            for run in PRIVATE_PAGES.finditer(entries[ENTRY_BYTES - 1 :: ENTRY_BYTES]):
                yield from range(first + run.start(), first + run.end())
    finally:
        os.close(pagemap)


def writable_areas() -> Iterator[tuple[int, int]]:
    """Yield page count and first page of each private writable area. Raises `OSError`."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            addresses, permissions, _ = line.split(maxsplit=2)
            if permissions == "rw-p":
                first, end = (int(address, 16) // mmap.PAGESIZE for address in addresses.split("-"))
                yield end - first, first


def runs(pages: set[int]) -> Iterator[tuple[int, int]]:
    """Yield first page and page count of each contiguous run."""
    ordered = sorted(pages)
    begin = 0
    for n, page in enumerate(ordered, 1):
        if n == len(ordered) or ordered[n] != page + 1:
            yield ordered[begin], n - begin
            begin = n
