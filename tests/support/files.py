"""Read and change files of a test."""

from pathlib import Path


def read_files(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder, by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace a text that must occur in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
