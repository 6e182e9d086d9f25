"""Make a task's reference leaderboard: a fixed pool of pipelines, run where agents run.

The pool (`guest`) sees exactly what an agent sees, in the same image,
and writes predictions; they are scored here as an agent's submission would be.
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
SECONDS = 3600
LIMIT_BYTES = 100_000_000
FIELDS = ("entry", "kind", "public_score", "private_score", "seed", "runtime_s")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pipeline of the pool and how it did."""

    entry: str
    public_score: float
    private_score: float
    seed: int
    runtime_s: float


async def population(
    task: Task, sandbox: str = "auto", *, only: tuple[str, ...] = ()
) -> list[Entry]:
    """Run the pool on a task, best public score first. `only` picks entries by name.

    Raises `TaskError` when the pool fails, `SandboxError`.
    """
    prepared = prepare(task)
    _, make = choose(sandbox)
    folder = Path(guest.__file__).parent
    spec = Spec(image=task.file.image, folders={DATA: prepared.public, PROGRAM: folder}, cpus=1)
    form = task.scoring.form
    async with make(spec) as box, Grader() as grader:
        job = {
            "data": str(box.where(DATA)),
            "out": str(box.where(WORKSPACE / "predictions")),
            "kind": task.file.kind,
            "metric": task.file.metric.name,
            "id": form.id_columns[0],
            "target": form.target_columns[0],
            "seed": 0,
            "only": list(only),
        }
        program = box.where(PROGRAM)
        module = f"{program.name}.{task.file.domain.replace(' ', '_')}"
        argv = ["env", f"PYTHONPATH={program.parent}", box.python, "-m", module, json.dumps(job)]
        done = await box.run(argv, timeout_s=SECONDS)
        if done.exit_code:
            said = done.output.decode(errors="replace").strip().rpartition("\n")[2]
            raise TaskError(f"the population of {task.id} failed: {said}")
        ran = await box.read(WORKSPACE / "predictions" / "entries.json", limit_bytes=LIMIT_BYTES)
        entries = []
        for each in json.loads(ran):
            path = WORKSPACE / "predictions" / f"{each['entry']}.csv"
            data = await box.read(path, limit_bytes=LIMIT_BYTES)
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
    best_first = task.scoring.higher_is_better
    return sorted(entries, key=lambda e: (e.public_score, e.private_score), reverse=best_first)


def write(task: Task, entries: list[Entry]) -> Path:
    """Replace the task's leaderboard.csv."""
    path = task.folder / "leaderboard.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, FIELDS, lineterminator="\n")
        rows.writeheader()
        for entry in entries:
            row: dict[str, Any] = {name: getattr(entry, name, "reference") for name in FIELDS}
            rows.writerow(row)
    return path
