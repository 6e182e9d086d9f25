"""Write a data set: a file for each split, and a data card.

The files are written to a temporary folder beside the new one, which gets its name at the end: an
export that fails or is interrupted leaves nothing.
"""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from kernel_env.errors import UnknownName, UsageError
from kernel_env.export import atif, conversations, transitions
from kernel_env.export.card import card
from kernel_env.export.runs import Run, copied_steps, find_runs
from kernel_env.export.selection import (
    SPLITS,
    Filters,
    Selection,
    Split,
    data_of,
    select,
    split_of,
)
from kernel_env.field_docs import show_fields


class Rows(Protocol):
    """Makes the rows of a run, without those of its first `copied` steps."""

    def __call__(self, run: Run, copied: int) -> Iterator[dict[str, Any]]:
        """Yield the rows; a value of one that is an iterator is written as a list."""


FORMATS: dict[str, Rows] = {
    "sft": conversations.rows,
    "rl": transitions.rows,
    "atif": atif.rows,
}
"""What makes the rows of each format."""
ONE_FILE_EACH = ("atif",)
"""Formats whose rows are a file each, in a folder for each split; others are JSON lines."""
NAME_CHARACTERS = 80
"""How much of an episode's name is in the name of its file."""
CARD = "README.md"
"""The data card."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    folder: str
    format: str
    episodes: dict[str, int]
    """Number of episodes by split."""
    rows: dict[str, int]
    """Number of rows by split."""
    steps: dict[str, int]
    """Number of the agent's steps by split, those counted once that forks share."""
    left_out: dict[str, int]
    """Number of runs that are not in it, by reason."""

    def json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def export(
    paths: Iterable[Path],
    out: Path,
    form: str,
    *,
    filters: Filters | None = None,
    valid: float = 0.0,
    skip: Callable[[Path, str], None] = lambda *_: None,
) -> Exported:
    """Write the runs at or below some paths as a data set.

    Args:
        paths: journals, folders of runs, or folders above them.
        out: the new folder; it gets `README.md`, and `train.jsonl` and `valid.jsonl`, or folders
            with these names and a file per episode.
        form: a name of `FORMATS`.
        filters: which runs; None: the default ones.
        valid: the expected share of tasks in `valid.jsonl`, 0 to 1; see `split_of`.
        skip: called with the path and the reason for each journal that cannot be read.

    Raises:
        UnknownName: there is no such format.
        UsageError: a path has no run, no run is left, or the folder exists or cannot be written.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    if not 0 <= valid <= 1:
        raise UsageError(f"the share for validation is {valid}; it must be from 0 to 1")
    filters = filters or Filters()
    unreadable: list[Path] = []

    def left_out(path: Path, reason: str) -> None:
        unreadable.append(path)
        skip(path, reason)

    selection = select(find_runs(paths, left_out), filters)
    if unreadable:
        selection.left_out["not readable"] = len(unreadable)
    if not selection.runs:
        reasons = "; ".join(f"{number} {why}" for why, number in selection.left_out.items())
        raise UsageError(f"no run is left to export: {reasons}")
    with new_folder(out) as folder:
        exported = write(selection, folder, form, valid, out)
        text = card(exported, selection, filters, valid)
        (folder / CARD).write_text(text, encoding="utf-8")
    return exported


def write(selection: Selection, folder: Path, form: str, valid: float, out: Path) -> Exported:
    """Write the rows of all splits."""
    copied = copied_steps(selection.runs)
    rows: Counter[str] = Counter()
    for split in SPLITS:
        runs = runs_of(selection, split, valid)
        found = ((run, row) for run in runs for row in FORMATS[form](run, copied[run.journal]))
        if form in ONE_FILE_EACH:
            (folder / split).mkdir()
            for run, row in found:
                rows[split] += 1
                with (folder / split / file_name(run, rows[split])).open(
                    "w", encoding="ascii"
                ) as one:
                    write_json(one, row)
            continue
        with (folder / f"{split}.jsonl").open("w", encoding="ascii") as file:
            for _, row in found:
                write_json(file, row)
                file.write("\n")
                rows[split] += 1
    counted = {split: runs_of(selection, split, valid) for split in SPLITS}
    return Exported(
        folder=str(out),
        format=form,
        episodes={split: len(runs) for split, runs in counted.items()},
        rows={split: rows[split] for split in SPLITS},
        steps={
            split: sum(run.steps - copied[run.journal] for run in runs)
            for split, runs in counted.items()
        },
        left_out=selection.left_out,
    )


def file_name(run: Run, number: int) -> str:
    """Return the name of a run's file; a journal names no folder."""
    name = re.sub(r"[^\w.-]", "_", run.header.episode, flags=re.ASCII)[:NAME_CHARACTERS]
    return f"{number:05}-{name}.json"


def runs_of(selection: Selection, split: Split, valid: float) -> list[Run]:
    """Return the runs of a split."""
    return [run for run in selection.runs if split_of(data_of(run.header), valid) == split]


def write_json(file: TextIO, value: Any) -> None:
    """Write a value as JSON in ASCII; an iterator is written as a list, one item at a time."""
    if isinstance(value, Mapping):
        for number, (name, inner) in enumerate(value.items()):
            file.write(f"{', ' if number else '{'}{json.dumps(name)}: ")
            write_json(file, inner)
        file.write("}" if value else "{}")
    elif isinstance(value, Iterator):
        file.write("[")
        for number, inner in enumerate(value):
            file.write(", " if number else "")
            write_json(file, inner)
        file.write("]")
    else:
        file.write(json.dumps(value, allow_nan=False))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that gets the name `out` if nothing fails. Raises `UsageError`."""
    if out.exists():
        raise UsageError(f"{out} already exists; remove it, or give another folder with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    try:
        yield folder
        folder.chmod(0o777 & ~current_umask())
        folder.rename(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def current_umask() -> int:
    """Return the mask of new files' modes; reading it is setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
