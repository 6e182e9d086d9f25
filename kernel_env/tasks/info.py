"""What `request_info` answers: the task in the agent's words, never anything of the answers."""

import csv
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from kernel_env.tasks import kaggle
from kernel_env.tasks.spec import Task

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
FILES_SHOWN = 20
"""Of each folder; a folder of pictures may hold a hundred thousand."""
PREVIEW_BYTES = 4096


def info(
    task: Task,
    public: Path,
    data: PurePosixPath,
    output: PurePosixPath,
    what: InfoType,
    limits: Mapping[str, Any],
) -> str:
    """One piece of information as text, or all of it.

    Args:
        public: the prepared public folder on the host.
        data: the path by which the agent's programs find that folder.
        output: the path where they must leave the submission.
        limits: limits of the episode that replace those of task.toml.
    """
    match what:
        case "overview":
            return task.description
        case "sample_submission":
            return head(public / "sample_submission.csv")
        case "data_structure":
            return structure(public)
        case "data_path":
            return str(data)
        case "output_path":
            return str(output)
        case "name":
            return task.file.name
        case "metadata":
            return json.dumps(metadata(task, limits), indent=1)
        case "all":
            pieces = [piece for piece in get_args(InfoType) if piece != "all"]
            told = {piece: info(task, public, data, output, piece, limits) for piece in pieces}
            return "\n\n".join(f"# {piece}\n{text}" for piece, text in told.items())


def metadata(task: Task, limits: Mapping[str, Any]) -> dict[str, object]:
    """The facts of task.toml that an agent may know, and the limits that hold for it."""
    file = task.file
    own = file.limits.model_dump()
    return {
        "id": file.id,
        "name": file.name,
        "summary": file.summary,
        "domain": file.domain,
        "kind": file.kind,
        "metric": file.metric.title or file.metric.name,
        "higher_is_better": task.scoring.higher_is_better,
        "submission_columns": task.scoring.form.columns or "those of sample_submission.csv",
        **({} if file.origin else {"raw_mb": size_mb(task)}),
        "licence": file.licence,
        "expected_minutes": file.expected_minutes,
        "limits": {name: limits.get(name, value) for name, value in own.items()},
        "leaderboard": {"kind": task.leaderboard.kind, "entries": len(task.leaderboard.public)},
    }


def size_mb(task: Task) -> float | None:
    """Of the raw files, as they are kept; None while they are not here."""
    if task.file.origin:
        return None  # another benchmark's folder may hold anything
    if task.file.kaggle:
        if not kaggle.is_whole(task.raw.parent):
            return None
        sizes = [int(each["bytes"]) for each in kaggle.sums(task.raw.parent).values()]
    else:
        sizes = [path.stat().st_size for path in task.raw.rglob("*") if path.is_file()]
    return round(sum(sizes) / 1e6, 2)


def structure(public: Path) -> str:
    """The public files of each folder: size, and for a table its columns and first row."""
    lines = []
    files = sorted(path for path in public.rglob("*") if path.is_file())
    for folder, group in groupby(sorted(files, key=lambda path: path.parent), lambda p: p.parent):
        inside = list(group)
        for path in inside[:FILES_SHOWN]:
            lines.append(f"{path.relative_to(public)} ({path.stat().st_size:,} bytes)")
            lines += columns(path) if path.suffix == ".csv" else []
        if more := inside[FILES_SHOWN:]:
            size = sum(path.stat().st_size for path in more)
            where = folder.relative_to(public)
            lines.append(f"… and {len(more):,} more files in {where}/ ({size:,} bytes)")
    return "\n".join(lines)


def columns(path: Path) -> list[str]:
    """What a table holds, in two lines; nothing for a file that is none after all."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.reader(file)
            names, first = next(rows, []), next(rows, [])
            count = sum(1 for _ in rows) + bool(first)
    except csv.Error:
        return []
    return [
        f"  {count:,} rows; columns: {', '.join(names)}"[:PREVIEW_BYTES],
        f"  first row: {', '.join(first)}"[:PREVIEW_BYTES],
    ]


def head(path: Path) -> str:
    """The first lines of a text file."""
    if not path.is_file():
        return f"There is no {path.name}; the overview says what to hand in."
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(line for line, _ in zip(file, range(SAMPLE_LINES), strict=False))
