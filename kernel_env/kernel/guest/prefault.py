"""The pages of memory that every cell writes, copied while the agent thinks.

After a copy all memory is shared, and the first write to a page copies it. A cell that
does nothing writes to nearly two thousand (reference counts stand beside what they
count), and the agent would wait for them. Which pages these are is seen by looking, before
some of the first copies, which ones are shared with nobody: they were written since the
last copy. From then on they are copied ahead, as soon as a standby has been taken.
"""

import ctypes
import mmap
import os
import re
from collections.abc import Iterator

LOOKS = 3
"""A page that was written before each of so many copies is written by every cell."""
MOST_LOOKED_AT = 1 << 17
"""Pages, smallest areas of memory first: what every cell writes does not lie in large arrays."""
MOST = 1 << 12
"""Pages copied ahead; cells that seem to write more do so for reasons of their own."""
ONLY_OURS = re.compile(b"\x81+")
"""The highest byte of an entry of /proc/self/pagemap: a page that is present, in no file, and
mapped by nobody else."""
ENTRY = 8
POPULATE_WRITE = 23
"""Since Linux 5.14; before, it is refused and nothing is gained."""

madvise = ctypes.PyDLL(None).madvise
madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Prefault:
    """What one kernel learns of the pages that it writes."""

    def __init__(self) -> None:
        self.looks = 0
        self.pages: set[int] = set()
        self.ranges: list[tuple[int, int]] = []
        """Address and length in bytes of what is copied ahead."""

    def learn(self) -> None:
        """Look at what was written since the last copy, if that is not known well enough."""
        if self.looks == LOOKS:
            return
        self.looks += 1
        try:
            written = set(written_pages())
        except Exception:  # noqa: BLE001 - no /proc, no descriptor free: nothing gained, nothing lost
            return
        self.pages = written if self.looks == 1 else self.pages & written
        if self.looks == LOOKS and len(self.pages) <= MOST:
            self.ranges = [(n * mmap.PAGESIZE, mmap.PAGESIZE * m) for n, m in runs(self.pages)]

    def copy_ahead(self) -> None:
        """Make the pages that every cell writes this process's own, in all other respects as is."""
        for address, length in self.ranges:
            madvise(address, length, POPULATE_WRITE)


def written_pages() -> Iterator[int]:
    """The numbers of the pages that this process has written since it was last copied.

    Raises `OSError`.
    """
    left = MOST_LOOKED_AT
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for count, first in sorted(areas()):
            if count > left:
                return
            left -= count
            entries = os.pread(pagemap, count * ENTRY, first * ENTRY)
            for run in ONLY_OURS.finditer(entries[ENTRY - 1 :: ENTRY]):
                yield from range(first + run.start(), first + run.end())
    finally:
        os.close(pagemap)


def areas() -> Iterator[tuple[int, int]]:
    """Number of pages and first page of each private area that can be written. Raises `OSError`."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            addresses, rights, _ = line.split(maxsplit=2)
            if rights == "rw-p":
                first, end = (int(address, 16) // mmap.PAGESIZE for address in addresses.split("-"))
                yield end - first, first


def runs(pages: set[int]) -> Iterator[tuple[int, int]]:
    """First page and number of pages of each unbroken run."""
    ordered = sorted(pages)
    begin = 0
    for n, page in enumerate(ordered, 1):
        if n == len(ordered) or ordered[n] != page + 1:
            yield ordered[begin], n - begin
            begin = n
