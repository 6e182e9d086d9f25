import mmap
import os
from pathlib import Path

import pytest

from kernel_env.kernel.guest.memory_maps import (
    SHARED_LINE,
    current_path,
    mapping_of,
    queried,
    shared_mappings,
)


@pytest.fixture
def mapped(tmp_path: Path):
    """Map files with ordinary and odd names, a deleted file, and memory without a file."""
    maps = []
    for name in ("plain", "a name with\nbreaks  and spaces", "gone"):
        with (tmp_path / name).open("w+b") as file:
            file.truncate(3 * mmap.PAGESIZE)
            maps.append(mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE, offset=mmap.PAGESIZE))
    (tmp_path / "gone").unlink()
    with (tmp_path / "plain").open("rb") as file:
        maps.append(mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ))
    maps.append(mmap.mmap(-1, mmap.PAGESIZE))
    yield tmp_path
    for each in maps:
        each.close()


def test_shared_mappings_are_found_with_their_paths(mapped: Path) -> None:
    found = [m for m in shared_mappings() if m.path.startswith(os.fspath(mapped))]

    assert sorted((Path(m.path).name, m.protection, m.offset, m.length) for m in found) == [
        ("a name with\nbreaks  and spaces", 3, mmap.PAGESIZE, 2 * mmap.PAGESIZE),
        ("gone (deleted)", 3, mmap.PAGESIZE, 2 * mmap.PAGESIZE),
        ("plain", 1, 0, mmap.PAGESIZE),
        ("plain", 3, mmap.PAGESIZE, 2 * mmap.PAGESIZE),
    ]
    assert any(m.path.startswith("/dev/zero") for m in shared_mappings())


@pytest.mark.usefixtures("mapped")
def test_older_systems_find_the_same_in_the_list_of_all_mappings() -> None:
    with Path("/proc/self/maps").open("rb") as file:
        try:
            asked = list(queried(file.fileno()))
        except OSError:
            pytest.skip("needs Linux 6.11 or newer, which can be asked for shared mappings")
        read = [mapping_of(line) for line in SHARED_LINE.findall(file.read())]

    assert asked == read
    assert len(asked) >= 5


def test_the_current_path_of_a_file_that_was_not_renamed_is_its_path() -> None:
    assert current_path("/data/file", 1) == "/data/file"
    assert current_path("/data/file (deleted)", 1) == "/data/file (deleted)"
