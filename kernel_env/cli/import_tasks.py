"""`kernel-env tasks import BENCHMARK PATH`: another benchmark's tasks, used where they lie."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import answer_json, fail, note, table

if TYPE_CHECKING:
    from kernel_env.authoring.importers.task_folder import SkippedTask

NOTHING: list[str] = []
SHOWN = 5
"""Names given where many were left out for one reason."""


def import_tasks(
    benchmark: Annotated[
        str, typer.Argument(metavar="mle-dojo|mle-bench|dsbench|mlagentbench", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A checkout of the benchmark.")],
    names: Annotated[
        list[str], typer.Argument(metavar="[NAME…]", help="Its tasks; all of them unless said.")
    ] = NOTHING,
    data: Annotated[Path | None, typer.Option(help="Its prepared or downloaded data.")] = None,
    into: Annotated[Path | None, typer.Option(help="A folder of task folders.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON line for each task.")] = False,
) -> None:
    """Make tasks of another benchmark usable; nothing in its folders is changed or run now."""
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

    sources = {it.BENCHMARK: it for it in (mle_dojo, mle_bench, dsbench, mlagentbench)}
    if benchmark not in sources:
        raise UnknownName("benchmark", benchmark, sources)
    where = (into or catalog.imported_folder()).expanduser().absolute()
    place = data.expanduser().resolve() if data else None
    left: list[SkippedTask] = []
    rows = []
    for found in sources[benchmark].find(path.expanduser().resolve(), place, names):
        if isinstance(found, task_folder.SkippedTask):
            left.append(found)
            continue
        try:
            task = task_folder.write(where, found)
        except TaskError as error:
            left.append(task_folder.SkippedTask(id=found.id, reason=str(error)))
            continue
        board = task.leaderboard
        rows.append(
            {
                "task": task.id,
                "metric": found.metric,
                "higher_is_better": found.higher_is_better,
                "leaderboard": board.kind if found.board else "none",
                "public_entries": len(board.public),
                "private_entries": len(board.private),
                "readiness": readiness(task),
                "todo": instructions(task) if missing(task) else "",
                "folder": str(task.folder),
            }
        )
    if json:
        for row in rows:
            answer_json(row)
    elif rows:
        shown = [name for name in rows[0] if name not in ("todo", "folder")]
        table(
            [name.replace("_", " ") for name in shown], [[str(r[n]) for n in shown] for r in rows]
        )
    tell(left)
    if not rows:
        fail(f"none of {len(left)} tasks could be imported from {path}")
    waiting = [row["task"] for row in rows if row["todo"]]
    note(f"{len(rows)} of {len(rows) + len(left)} tasks are in {where}")
    if waiting:
        note(
            f"{len(waiting)} of them need data; what to do for each, as for {waiting[0]}:"
            f" kernel-env tasks show {waiting[0]}"
        )
    if into:
        note(f"to have them found by name: export KERNEL_ENV_TASKS={where}")


def tell(left: "list[SkippedTask]") -> None:
    """What was left out, reason by reason."""
    reasons = defaultdict(list)
    for each in left:
        reasons[each.reason].append(each.id)
    for reason, ids in reasons.items():
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        note(f"left out: {', '.join(ids[:SHOWN])}{more}: {reason}")
