"""Installed packages are made smaller, and work as before."""

import importlib.util
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from kernel_env.sandbox.docker.images import images_folder


def slim(folder: Path) -> None:
    subprocess.run([sys.executable, images_folder() / "base" / "slim.py", folder], check=True)


def test_tests_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a/tests/test_a.py", "a/b/test/data.csv", "a/testing/b.py", "a/test.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")

    slim(tmp_path)

    remaining = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert remaining == {"a/testing/b.py", "a/test.py"}


def test_a_library_without_its_symbols_still_loads(tmp_path: Path) -> None:
    package = importlib.util.find_spec("kiwisolver")
    assert package is not None
    assert package.submodule_search_locations
    found = PathFinder.find_spec("_cext", package.submodule_search_locations)
    assert found is not None
    assert found.origin is not None
    library = Path(shutil.copy(found.origin, tmp_path))
    before = library.stat().st_size

    slim(tmp_path)
    stripped = library.read_bytes()
    slim(tmp_path)

    assert len(stripped) < 0.9 * before
    assert library.read_bytes() == stripped
    program = f"import ctypes; ctypes.PyDLL({str(library)!r}).PyInit__cext"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_files_that_are_no_libraries_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("GROUP ( libc.so.6 )")
    (tmp_path / "link.so").symlink_to("nowhere")

    slim(tmp_path)

    assert (tmp_path / "text.so").read_text() == "GROUP ( libc.so.6 )"
    assert (tmp_path / "link.so").is_symlink()
