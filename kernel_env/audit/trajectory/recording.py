"""Read what is known of a recorded episode: its journal, its notebook, its record, its submissions.

Of a run's folder all files are read, so that they can be compared; of a single file only that one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.reading import is_journal, source_of
from kernel_env.episode.result import RECORD
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded episode as its files tell it."""

    trajectory: Trajectory
    """Of the journal if there is one, else of the notebook."""
    folder: Path | None = None
    """The run's folder, if it was given."""
    notebook: NotebookNode | None = None
    notebook_path: Path | None = None
    in_notebook: Trajectory | None = None
    """What the notebook tells; None without a notebook."""
    in_journal: Trajectory | None = None
    record: Mapping[str, Any] | None = None
    """The content of `record.json`; None without a folder that has it."""

    @property
    def has_digests(self) -> bool:
        """Return whether a digest is stored with each entry, as since version 0.2."""
        return bool(self.trajectory.digests)


class Unreadable(UsageError):
    """A file of an episode that cannot be read as one, though it says that it is."""


def read_recording(path: Path) -> Recording:
    """Read the folder of a run, its journal or its notebook.

    Raises:
        Unreadable: the file is that of an episode, and damaged.
        UsageError: there is no such file, or it is something else.
    """
    source = source_of(path)
    folder = path if path.is_dir() else None
    journal = source if is_journal(source) else None
    notebook = source if journal is None else folder and existing(folder / NOTEBOOK)
    in_journal = read(journal) if journal else None
    node = read_notebook(notebook) if notebook else None
    in_notebook = parse(notebook, node) if notebook and node else None
    trajectory = in_journal or in_notebook
    assert trajectory is not None
    return Recording(
        trajectory=trajectory,
        folder=folder,
        notebook=node,
        notebook_path=notebook,
        in_notebook=in_notebook,
        in_journal=in_journal,
        record=read_record(folder / RECORD) if folder else None,
    )


def existing(path: Path) -> Path | None:
    """Return a path if there is a file."""
    return path if path.is_file() else None


def read(journal: Path) -> Trajectory:
    """Read a journal. Raises `UsageError`, `Unreadable`."""
    try:
        return read_journal(journal)
    except UsageError as error:
        if begins_as_journal(journal):
            raise Unreadable(str(error)) from error
        raise


def begins_as_journal(path: Path) -> bool:
    """Return whether the first line of a file says that it is a journal."""
    try:
        with path.open("rb") as file:
            return b'"header"' in file.read(200)
    except OSError:
        return False


def parse(path: Path, notebook: NotebookNode) -> Trajectory:
    """Parse a notebook. Raises `UsageError`, `Unreadable`."""
    if "kernel_env" not in notebook.metadata:
        raise UsageError(f"{path} is not the notebook of an episode; replay it with --task")
    try:
        trajectory = parse_notebook(notebook)
    except UsageError as error:
        raise Unreadable(f"{path}: {error}") from error
    if not trajectory.digests and any(map(has_digest, notebook.cells)):
        return replace(trajectory, digests=("",))  # they were removed from the metadata
    return trajectory


def has_digest(cell: NotebookNode) -> bool:
    """Return whether a cell has a digest in its metadata."""
    data = cell.metadata.get("kernel_env")
    return isinstance(data, dict) and "digest" in data


def read_record(path: Path) -> Mapping[str, Any] | None:
    """Read `record.json`; None if there is none. Raises `Unreadable`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Unreadable(f"{path} is not a JSON object")
    return record
