"""Remove from installed packages what no running program reads: tests, and symbols of debuggers.

    python3 slim.py FOLDER

The loader finds a library's functions by its program headers. Symbol tables and section headers,
which lie behind all that it maps, serve linkers and debuggers only, and are up to a quarter of a
file.
"""

import shutil
import struct
import sys
from pathlib import Path

ELF64 = b"\x7fELF\x02\x01"
"""How a 64-bit little-endian ELF file begins."""
SYMBOL_TABLE = 2
TESTS = ("test", "tests")


def strip(path: Path) -> None:
    """Cut off what the loader does not map, if a symbol table is in it."""
    with path.open("r+b") as file:
        header = bytearray(file.read(64))
        if not header.startswith(ELF64):
            return

        def table(offset_at: int, size_at: int) -> tuple[int, list[bytes]]:
            (offset,) = struct.unpack_from("<Q", header, offset_at)
            size, count = struct.unpack_from("<HH", header, size_at)
            file.seek(offset)
            return offset + size * count, [file.read(size) for _ in range(count)]

        end_of_table, segments = table(32, 54)
        _, sections = table(40, 58)
        if not any(struct.unpack_from("<I", section, 4)[0] == SYMBOL_TABLE for section in sections):
            return
        ends = [sum(struct.unpack_from("<8xQ16xQ", segment)) for segment in segments]
        struct.pack_into("<Q", header, 40, 0)  # offset of the section headers
        struct.pack_into("<HH", header, 60, 0, 0)  # their number, and the one with their names
        file.seek(0)
        file.write(header)
        file.truncate(max(end_of_table, *ends))


def main(folder: Path) -> None:
    """Remove the tests below a folder, and strip its libraries."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.exists():
            continue
        if path.is_dir() and path.name in TESTS:
            shutil.rmtree(path)
        elif path.is_file() and ".so" in path.suffixes:
            strip(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
