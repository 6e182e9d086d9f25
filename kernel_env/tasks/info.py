"""What `request_info` answers: the task in the agent's words, never anything of the answers."""

import csv
import json
from pathlib import Path, PurePosixPath
from typing import get_args

from kernel_env.action import InfoType
from kernel_env.tasks.sources import kaggle
from kernel_env.tasks.spec import Task

SAMPLE_LINES = 6
PREVIEW_BYTES = 4096


def info(
    task: Task, public: Path, data: PurePosixPath, output: PurePosixPath, what: InfoType
) -> str:
    """One piece of information as text, or all of it.

    Args:
        public: the prepared public folder on the host.
        data: the path by which the agent's programs find that folder.
        output: the path where they must leave the submission.
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
            return json.dumps(metadata(task), indent=1)
        case "all":
            pieces = [piece for piece in get_args(InfoType) if piece != "all"]
            told = {piece: info(task, public, data, output, piece) for piece in pieces}
            return "\n\n".join(f"# {piece}\n{text}" for piece, text in told.items())


def metadata(task: Task) -> dict[str, object]:
    """The facts of task.toml that an agent may know."""
    file = task.file
    return {
        "id": file.id,
        "name": file.name,
        "summary": file.summary,
        "domain": file.domain,
        "kind": file.kind,
        "metric": file.metric.name,
        "higher_is_better": task.scoring.higher_is_better,
        "submission_columns": task.scoring.form.columns,
        "raw_mb": size_mb(task),
        "licence": file.licence,
        "expected_minutes": file.expected_minutes,
        "limits": file.limits.model_dump(),
        "leaderboard": {"kind": task.leaderboard.kind, "entries": len(task.leaderboard.public)},
    }


def size_mb(task: Task) -> float | None:
    """Of the raw files, as they are kept; None while they are not here."""
    if task.file.kaggle:
        if not kaggle.is_whole(task.raw.parent):
            return None
        sizes = [int(each["bytes"]) for each in kaggle.sums(task.raw.parent).values()]
    else:
        sizes = [path.stat().st_size for path in task.raw.rglob("*") if path.is_file()]
    return round(sum(sizes) / 1e6, 2)


def structure(public: Path) -> str:
    """Each public file: size, and for a table its columns and first row."""
    lines = []
    for path in sorted(p for p in public.rglob("*") if p.is_file()):
        lines.append(f"{path.relative_to(public)} ({path.stat().st_size:,} bytes)")
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                columns, first = next(rows, []), next(rows, [])
                count = sum(1 for _ in rows) + bool(first)
            lines.append(f"  {count:,} rows; columns: {', '.join(columns)}")
            lines.append(f"  first row: {', '.join(first)}"[:PREVIEW_BYTES])
    return "\n".join(lines)


def head(path: Path) -> str:
    """The first lines of a text file."""
    with path.open(encoding="utf-8") as file:
        return "".join(line for line, _ in zip(file, range(SAMPLE_LINES), strict=False))
