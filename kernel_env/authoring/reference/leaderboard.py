"""Create a task's reference leaderboard from a fixed set of reference pipelines.

The pipelines (`guest`) run in the agent's image and read the agent's files. They write
predictions, which the host grades like an agent's submissions.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_env.authoring.reference import guest
from kernel_env.errors import TaskError
from kernel_env.grading.host import Grader
from kernel_env.grading.leaderboard import DECIMALS
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Spec
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


async def run_reference_pipelines(
    task: Task, sandbox_name: str = "auto", *, only: tuple[str, ...] = ()
) -> list[Entry]:
    """Run the reference pipelines on a task; return the entries, best public score first.

    Args:
        task: the task; its domain and kind select the pipelines.
        sandbox_name: the name of a sandbox back end, or `auto`.
        only: the names of the pipelines to run; empty: all.

    Raises:
        TaskError: all pipelines fail; those that cannot fit this task's data are left out.
        SandboxError: the sandbox fails.
    """
    _, make = choose(sandbox_name, trusted=True)
    prepared = prepare(task)
    folder = Path(guest.__file__).parent
    spec = Spec(image=task.file.image, folders={DATA: prepared.public, PROGRAM: folder}, cpus=1)
    schema = task.scoring.schema
    async with make(spec) as sandbox, Grader() as grader:
        job = {
            "data": str(sandbox.guest_path(DATA)),
            "out": str(sandbox.guest_path(WORKSPACE / "predictions")),
            "kind": task.file.kind,
            "metric": task.file.metric.name,
            "id": schema.id_columns[0],
            "target": schema.target_columns[0],
            "seed": 0,
            "only": list(only),
        }
        program = sandbox.guest_path(PROGRAM)
        module = f"{program.name}.{task.file.domain.replace(' ', '_')}"
        argv = [
            "env",
            f"PYTHONPATH={program.parent}",
            sandbox.python,
            "-m",
            module,
            json.dumps(job),
        ]
        done = await sandbox.run(argv, timeout_s=TIMEOUT_S)
        if done.exit_code:
            last_line = done.output.decode(errors="replace").strip().rpartition("\n")[2]
            raise TaskError(f"the reference pipelines of {task.id} failed: {last_line}")
        finished = await sandbox.read(
            WORKSPACE / "predictions" / "entries.json", limit_bytes=LIMIT_BYTES
        )
        entries = []
        results = json.loads(finished)
        completed = [each for each in results if "error" not in each]
        if not completed:
            raise TaskError(
                f"none of the {len(results)} reference pipelines of {task.id} fits its data:"
                f" {results[0]['error'] if results else 'none was chosen'}"
            )
        for each in completed:
            path = WORKSPACE / "predictions" / f"{each['entry']}.csv"
            data = await sandbox.read(path, limit_bytes=LIMIT_BYTES)
            scores = await grader.grade(data, grading_spec(task, prepared), ("Public", "Private"))
            assert scores.public is not None
            assert scores.private is not None
            entries.append(
                Entry(
                    entry=each["entry"],
                    public_score=round(scores.public, DECIMALS),
                    private_score=round(scores.private, DECIMALS),
                    seed=each["seed"],
                    runtime_s=round(each["runtime_s"], 1),
                )
            )
    higher_is_better = task.scoring.higher_is_better
    return sorted(
        entries, key=lambda e: (e.public_score, e.private_score), reverse=higher_is_better
    )


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
