"""Implement `kernel-env tasks import`: create task folders for another benchmark's tasks."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_message, print_table

if TYPE_CHECKING:
    from kernel_env.authoring.importers.task_folder import SkippedTask

NO_NAMES: list[str] = []
MAX_NAMES = 5
"""The most names that are listed for one reason."""


def import_tasks(
    benchmark: Annotated[
        str,
        typer.Argument(metavar="mle-dojo|mle-bench|dsbench|mlagentbench", help="The benchmark."),
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A checkout of the benchmark.")],
    names: Annotated[
        list[str], typer.Argument(metavar="[NAME…]", help="Tasks to import (default: all).")
    ] = NO_NAMES,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark's prepared or downloaded data.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the new task folders (default: in the cache).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per task.")] = False,
) -> None:
    """Import tasks of another benchmark.

    Importing neither changes the benchmark's files nor runs its code.
    """
    from kernel_env.authoring.importers import (
        dsbench,
        mlagentbench,
        mle_bench,
        mle_dojo,
        task_folder,
    )
    from kernel_env.errors import TaskError, UnknownName
    from kernel_env.tasks import catalog
    from kernel_env.tasks.prepare import instructions, missing, readiness

    importers = {it.BENCHMARK: it for it in (mle_dojo, mle_bench, dsbench, mlagentbench)}
    if benchmark not in importers:
        raise UnknownName("benchmark", benchmark, importers)
    target = (into or catalog.imported_folder()).expanduser().absolute()
    data_folder = data.expanduser().resolve() if data else None
    skipped: list[SkippedTask] = []
    rows = []
    for found in importers[benchmark].find(path.expanduser().resolve(), data_folder, names):
        if isinstance(found, task_folder.SkippedTask):
            skipped.append(found)
            continue
        try:
            task = task_folder.write(target, found)
        except TaskError as error:
            skipped.append(task_folder.SkippedTask(id=found.id, reason=str(error)))
            continue
        leaderboard = task.leaderboard
        rows.append(
            {
                "task": task.id,
                "metric": found.metric,
                "higher_is_better": found.higher_is_better,
                "leaderboard": leaderboard.kind if found.board else "none",
                "public_entries": len(leaderboard.public),
                "private_entries": len(leaderboard.private),
                "readiness": readiness(task),
                "todo": instructions(task) if missing(task) else "",
                "folder": str(task.folder),
            }
        )
    if json:
        for row in rows:
            print_json(row)
    elif rows:
        shown = [name for name in rows[0] if name not in ("todo", "folder")]
        print_table(
            [name.replace("_", " ") for name in shown], [[str(r[n]) for n in shown] for r in rows]
        )
    report_skipped(skipped)
    if not rows:
        fail(f"none of {len(skipped)} tasks could be imported from {path}")
    without_data = [row["task"] for row in rows if row["todo"]]
    print_message(f"{len(rows)} of {len(rows) + len(skipped)} tasks are in {target}")
    if without_data:
        print_message(
            f"{len(without_data)} of them need data; for instructions, run for each:"
            f" kernel-env tasks show {without_data[0]}"
        )
    if into:
        print_message(f"to use them by name: export KERNEL_ENV_TASKS={target}")


def report_skipped(skipped: "list[SkippedTask]") -> None:
    """Print the tasks that were not imported, one line per reason."""
    reasons = defaultdict(list)
    for task in skipped:
        reasons[task.reason].append(task.id)
    for reason, ids in reasons.items():
        more = f" and {len(ids) - MAX_NAMES} more" if len(ids) > MAX_NAMES else ""
        print_message(f"left out: {', '.join(ids[:MAX_NAMES])}{more}: {reason}")
