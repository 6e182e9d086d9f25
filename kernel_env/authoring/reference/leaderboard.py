"""Create a task's reference leaderboard from a fixed set of reference pipelines.

The pipelines (`guest`) run in the agent's image and read the agent's files. They write
predictions, which the host grades like an agent's submissions.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_env.authoring.reference import guest
from kernel_env.errors import TaskError
from kernel_env.grading.host import Grader
from kernel_env.grading.leaderboard import DECIMALS
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Sandbox, Spec
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import grading_spec, prepare

PROGRAM = PurePosixPath("/opt/kernel_env/reference/guest")
TIMEOUT_S = 3600
LIMIT_BYTES = 100_000_000
FIELDS = ("entry", "kind", "public_score", "private_score", "seed", "runtime_s")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The result of one reference pipeline."""

    entry: str
    """The pipeline's name."""
    public_score: float
    """The score on the public test rows, rounded to the leaderboard's precision."""
    private_score: float
    """The score on the private test rows, rounded to the leaderboard's precision."""
    seed: int
    """The random seed that the pipeline used."""
    runtime_s: float
    """The time to fit and predict, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a run of the reference pipelines gave."""

    entries: list[Entry]
    """The pipelines that fit the data, best public score first."""
    left_out: dict[str, str]
    """Why each of the others did not, by its name."""


async def run_reference_pipelines(
    task: Task, sandbox_name: str = "auto", *, only: tuple[str, ...] = ()
) -> Results:
    """Run the reference pipelines on a task; those that cannot fit its data are left out.

    With several targets, each pipeline fits one after another.

    Args:
        task: the task; its domain and kind select the pipelines.
        sandbox_name: the name of a sandbox back end, or `auto`.
        only: the names of the pipelines to run; empty: all.

    Raises:
        TaskError: all pipelines fail.
        SandboxError: the sandbox fails.
    """
    _, make = choose(sandbox_name, trusted=True)
    prepared = prepare(task)
    folder = Path(guest.__file__).parent
    spec = Spec(image=task.file.image, folders={DATA: prepared.public, PROGRAM: folder}, cpus=1)
    schema = task.scoring.schema
    async with make(spec) as sandbox, Grader() as grader:
        runs = [
            await run_pool(task, sandbox, number, tuple(only))
            for number in range(len(schema.target_columns))
        ]
        left_out = {each["entry"]: each["error"] for run in runs for each in run if "error" in each}
        completed = [each["entry"] for each in runs[0] if each["entry"] not in left_out]
        if not completed:
            first = next(iter(left_out.values()), "none was chosen")
            raise TaskError(
                f"none of the {len(runs[0])} reference pipelines of {task.id} fits its data:"
                f" {first}"
            )
        entries = []
        for name in completed:
            parts = [
                await sandbox.read(results(number) / f"{name}.csv", limit_bytes=LIMIT_BYTES)
                for number in range(len(runs))
            ]
            graded = await grader.grade(
                joined(parts), grading_spec(task, prepared), ("Public", "Private")
            )
            assert graded.public is not None
            assert graded.private is not None
            of_name = [each for run in runs for each in run if each["entry"] == name]
            entries.append(
                Entry(
                    entry=name,
                    public_score=round(graded.public, DECIMALS),
                    private_score=round(graded.private, DECIMALS),
                    seed=of_name[0]["seed"],
                    runtime_s=round(sum(each["runtime_s"] for each in of_name), 1),
                )
            )
    higher_is_better = task.scoring.higher_is_better
    entries.sort(key=lambda e: (e.public_score, e.private_score), reverse=higher_is_better)
    return Results(entries=entries, left_out=left_out)


async def run_pool(
    task: Task, sandbox: Sandbox, number: int, only: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Run the pool of a task's domain for one target; return what it says of each entry.

    Raises:
        TaskError: the pool does not fit the task at all.
    """
    schema = task.scoring.schema
    job = {
        "data": str(sandbox.guest_path(DATA)),
        "out": str(sandbox.guest_path(results(number))),
        "kind": task.file.kind,
        "metric": task.file.metric.name,
        "id": schema.id_columns[0],
        "target": schema.target_columns[number],
        "metric_column": task.file.metric.column,
        "seed": 0,
        "only": list(only),
    }
    program = sandbox.guest_path(PROGRAM)
    module = f"{program.name}.{task.file.domain.replace(' ', '_')}"
    path = f"PYTHONPATH={program.parent}"
    argv = ["env", path, sandbox.python, "-m", module, json.dumps(job)]
    done = await sandbox.run(argv, timeout_s=TIMEOUT_S)
    if done.exit_code:
        last_line = done.output.decode(errors="replace").strip().rpartition("\n")[2]
        raise TaskError(f"the reference pipelines of {task.id} failed: {last_line}")
    finished = await sandbox.read(results(number) / "entries.json", limit_bytes=LIMIT_BYTES)
    found: list[dict[str, Any]] = json.loads(finished)
    return found


def results(number: int) -> PurePosixPath:
    """Return the folder of the predictions of a target, by its position."""
    return WORKSPACE / "predictions" / str(number)


def joined(parts: list[bytes]) -> bytes:
    """Return one submission of submissions for one target each, whose rows have the same order."""
    if len(parts) == 1:
        return parts[0]
    import pandas as pd

    tables = [pd.read_csv(io.BytesIO(part), dtype=str, keep_default_na=False) for part in parts]
    columns = [tables[0], *(table.iloc[:, 1:] for table in tables[1:])]
    return pd.concat(columns, axis=1).to_csv(index=False).encode()


def write(task: Task, entries: list[Entry]) -> Path:
    """Write the entries to the task's leaderboard.csv; return its path."""
    path = task.folder / "leaderboard.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, FIELDS, lineterminator="\n")
        rows.writeheader()
        for entry in entries:
            row: dict[str, Any] = {name: getattr(entry, name, "reference") for name in FIELDS}
            rows.writerow(row)
    return path
