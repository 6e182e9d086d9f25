"""Read what is known of a recorded episode: its journal, its notebook, its record, its submissions.

Of a run's folder all files are read, so that they can be compared; of a single file only that one.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from pydantic import TypeAdapter

from kernel_env.episode.journal import read_journal
from kernel_env.episode.json_codec import parse_foreign_step
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.notebook_parser import parse_cell, parse_notebook, read_notebook
from kernel_env.episode.reading import is_journal, source_of
from kernel_env.episode.result import RECORD
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Trajectory
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
        """Return whether a digest is stored with each entry; version 0.1 stored none."""
        return bool(self.trajectory.digests)


class Unreadable(UsageError):
    """A file of an episode that cannot be read as one, though it says that it is.

    Args:
        message: what is wrong.
        where: the entry that cannot be read: `header`, `step 3`, a file.
    """

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


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
            raise Unreadable(str(error), unreadable_line(journal)) from error
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
        raise UsageError(
            f"{path} is not the notebook of an episode; only what was recorded can be verified"
        )
    try:
        trajectory = parse_notebook(notebook)
    except UsageError as error:
        raise Unreadable(f"{path}: {error}", unreadable_cell(notebook)) from error
    if not trajectory.digests and any(map(has_digest, notebook.cells)):
        return replace(trajectory, digests=("",))  # they were removed from the metadata
    return trajectory


def unreadable_cell(notebook: NotebookNode) -> str:
    """Return the first entry of a notebook that cannot be read."""
    metadata = notebook.metadata["kernel_env"]
    checks: list[tuple[str, Callable[[], object]]] = [
        ("header", lambda: HEADER.validate_python(metadata["header"]))
    ]
    notes, steps = 1, 1
    for cell in notebook.cells:
        data = json.loads(json.dumps(cell.metadata.get("kernel_env")))
        if not isinstance(data, dict) or "thought_of" in data:
            continue
        if "note" in data:
            checks.append((f"note {notes}", partial(NOTE.validate_python, data["note"])))
            notes += 1
        else:
            checks.append((f"step {steps}", partial(parse_cell, cell, data, steps)))
            steps += 1
    checks.append(("ending", lambda: ENDING.validate_python(metadata["ending"])))
    return first_fault(checks) or "the notebook"


PARSERS: dict[str, TypeAdapter[Any]] = {"header": HEADER, "note": NOTE, "ending": ENDING}


def unreadable_line(journal: Path) -> str:
    """Return the first entry of a journal that cannot be read."""
    checks: list[tuple[str, Callable[[], object]]] = []
    counts = {"step": 0, "note": 0}
    for count, line in enumerate(journal.read_bytes().split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            kind = next(name for name in ("step", *PARSERS) if name in entry)
        except (ValueError, TypeError, RecursionError, StopIteration):
            return first_fault(checks) or f"line {count}"
        if kind in counts:
            counts[kind] += 1
        number = counts.get(kind, 0)
        check = (
            partial(parse_foreign_step, entry[kind], number)
            if kind == "step"
            else partial(PARSERS[kind].validate_python, entry[kind])
        )
        checks.append((f"{kind} {number}" if number else kind, check))
    return first_fault(checks) or journal.name


def first_fault(checks: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """Return the name of the first check that fails; empty if none does."""
    for name, check in checks:
        try:
            check()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return name
    return ""


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
        raise Unreadable(f"{path} is not JSON: {error}", RECORD) from error
    if not isinstance(record, dict):
        raise Unreadable(f"{path} is not a JSON object", RECORD)
    return record
