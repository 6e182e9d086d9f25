"""Answer `request_info`: describe the task to the agent without revealing the answers."""

import csv
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from kernel_env.tasks import kaggle
from kernel_env.tasks.spec import Task
from kernel_env.untrusted_text import escape_line

InfoType = Literal[
    "overview",
    "sample_submission",
    "data_structure",
    "data_path",
    "output_path",
    "name",
    "metadata",
    "all",
]

SAMPLE_LINES = 6
"""The number of lines shown from the sample submission."""
FILES_SHOWN = 20
"""The number of files listed per folder; a folder of images can contain 100,000."""
PREVIEW_CHARACTERS = 4096
"""The longest line that describes a table."""


def info(
    task: Task,
    public: Path,
    data: PurePosixPath,
    output: PurePosixPath,
    what: InfoType,
    limits: Mapping[str, Any],
    machine: Mapping[str, object] | None = None,
) -> str:
    """Return one type of information as text, or all of them.

    Args:
        task: the task to describe.
        public: the prepared public folder on the host.
        data: the path of that folder in the sandbox.
        output: the path in the sandbox where the agent writes the submission.
        what: the type of information.
        limits: limits of the episode that replace those of task.toml.
        machine: facts on what the agent's code runs on, for `metadata`.
    """
    match what:
        case "overview":
            return task.description
        case "sample_submission":
            return first_lines(public / "sample_submission.csv")
        case "data_structure":
            return data_structure(public)
        case "data_path":
            return str(data)
        case "output_path":
            return str(output)
        case "name":
            return task.file.name
        case "metadata":
            facts = metadata(task, limits) | ({"machine": machine} if machine else {})
            return json.dumps(facts, indent=1)
        case "all":
            types = [each for each in get_args(InfoType) if each != "all"]
            texts = {
                each: info(task, public, data, output, each, limits, machine) for each in types
            }
            return "\n\n".join(f"# {each}\n{text}" for each, text in texts.items())


def metadata(task: Task, limits: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields of task.toml that an agent can see, and the limits of its episode."""
    file = task.file
    defaults = file.limits.model_dump(exclude_none=True)
    return {
        "id": file.id,
        "name": file.name,
        "summary": file.summary,
        "domain": file.domain,
        "kind": file.kind,
        "metric": file.metric.title or file.metric.name,
        "higher_is_better": task.scoring.higher_is_better,
        "submission_columns": task.scoring.schema.columns or "those of sample_submission.csv",
        **({} if file.origin else {"raw_mb": size_mb(task)}),
        **({"licence": file.licence} if file.licence else {}),
        **({"expected_minutes": file.expected_minutes} if file.expected_minutes else {}),
        "limits": {name: limits.get(name, value) for name, value in defaults.items()},
        "resources": file.resources.model_dump(),
        "leaderboard": {"kind": task.leaderboard.kind, "entries": len(task.leaderboard.public)},
    }


def size_mb(task: Task) -> float | None:
    """Return the size of the raw files in MB; None before they are downloaded."""
    if task.file.origin:
        return None  # another benchmark's folder can contain other files, too
    if task.file.kaggle:
        if not kaggle.is_downloaded(task.raw.parent):
            return None
        sizes = [int(each["bytes"]) for each in kaggle.checksums(task.raw.parent).values()]
    else:
        sizes = [path.stat().st_size for path in task.raw.rglob("*") if path.is_file()]
    return round(sum(sizes) / 1e6, 2)


def data_structure(public: Path) -> str:
    """List the public files per folder: the size, and a table's columns and first row."""
    lines = []
    files = sorted(path for path in public.rglob("*") if path.is_file())
    for folder, group in groupby(sorted(files, key=lambda path: path.parent), lambda p: p.parent):
        paths = list(group)
        for path in paths[:FILES_SHOWN]:
            lines.append(f"{path.relative_to(public)} ({path.stat().st_size:,} bytes)")
            lines += table_preview(path) if path.suffix == ".csv" else []
        if more := paths[FILES_SHOWN:]:
            size = sum(path.stat().st_size for path in more)
            relative = folder.relative_to(public)
            lines.append(f"… and {len(more):,} more files in {relative}/ ({size:,} bytes)")
    return "\n".join(map(escape_line, lines))


def table_preview(path: Path) -> list[str]:
    """Describe a table in two lines; no line for a file that is not CSV."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.reader(file)
            names, first = next(rows, []), next(rows, [])
            count = sum(1 for _ in rows) + bool(first)
    except csv.Error:
        return []
    return [
        f"  {count:,} rows; columns: {', '.join(names)}"[:PREVIEW_CHARACTERS],
        f"  first row: {', '.join(first)}"[:PREVIEW_CHARACTERS],
    ]


def first_lines(path: Path) -> str:
    """Return the first lines of a text file."""
    if not path.is_file():
        return f"There is no {path.name}; the overview describes the submission."
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(line for line, _ in zip(file, range(SAMPLE_LINES), strict=False))
