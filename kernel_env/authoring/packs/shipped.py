"""Read and write what a pack ships beside its manifest: facts, results of checks, boards."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from kernel_env.authoring.packs.manifest import Pack
from kernel_env.errors import TaskError
from kernel_env.tasks.task_file import Section


class Facts(Section):
    """What is known of a task once it is made."""

    task: str
    domain: str
    kind: str
    metric: str
    rows: int
    """The number of training rows."""
    test_rows: int
    columns: int
    """The number of feature columns."""
    entries: int
    """The number of entries of its board."""
    seconds: float
    """The seconds that the reference pipelines take together."""


class Checked(Section):
    """What `tasks check` found in a task."""

    task: str
    key: str
    """The hash of what the task was made of when it was checked."""
    passed: int
    """The number of checks that found no flaw."""
    failed: str
    """The names of the checks that found one, separated by commas; empty if none did."""
    not_run: str
    """The names of the checks that could not run, such as the exploits in no container."""


Row = TypeVar("Row", Facts, Checked)


def facts_file(pack: Pack) -> Path:
    """Return the path of a pack's facts; it need not exist."""
    return pack.folder / "facts.csv"


def checks_file(pack: Pack) -> Path:
    """Return the path of the results of checks; it need not exist."""
    return pack.folder / "checks.csv"


def board_file(pack: Pack, name: str) -> Path:
    """Return the path of the board that a pack ships for a task; it need not exist."""
    return pack.folder / "boards" / f"{name}.csv"


def read_facts(pack: Pack) -> dict[str, Facts]:
    """Return the facts that a pack ships, by the names of tasks. Raises `TaskError`."""
    return read_rows(facts_file(pack), Facts)


def read_checks(pack: Pack) -> dict[str, Checked]:
    """Return the results of checks that a pack ships, by task. Raises `TaskError`."""
    return read_rows(checks_file(pack), Checked)


def read_rows(path: Path, row: type[Row]) -> dict[str, Row]:
    """Return the rows of a table by the names of tasks; none if there is no file.

    Raises:
        TaskError: the file has another form.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {each["task"]: row.model_validate(each) for each in csv.DictReader(file)}
    except (KeyError, ValueError) as error:
        raise TaskError(
            f"{path} is not the {row.__name__.lower()} table of a pack: {error}"
        ) from error


def update_rows(pack: Pack, path: Path, rows: Iterable[Row], row: type[Row]) -> int:
    """Replace the rows of some tasks in a table, and leave out tasks that the pack lacks.

    Returns:
        The number of rows that the table has now.

    Raises:
        TaskError: the file has another form.
    """
    found = read_rows(path, row) | {each.task: each for each in rows}
    kept = [each for name, each in found.items() if name in pack.file.task]
    write_rows(path, kept, row)
    return len(kept)


def write_rows(path: Path, rows: Iterable[Row], row: type[Row]) -> None:
    """Write a table, sorted by the names of tasks."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(each.model_dump() for each in sorted(rows, key=lambda each: each.task))
