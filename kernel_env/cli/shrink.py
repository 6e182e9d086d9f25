"""Implement `kernel-env tasks shrink`: make a small variant of a task."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_message, print_result


def shrink(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A name or a task folder.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of training rows.")] = 200,
    test_rows: Annotated[
        int | None, typer.Option(min=1, help="Number of test rows (default: as many).")
    ] = None,
    new_name: Annotated[
        str, typer.Option("--name", help="The new task's name (default: TASK-ROWS).")
    ] = "",
    seed: Annotated[int, typer.Option(help="What the choice of rows depends on.")] = 0,
    into: Annotated[Path, typer.Option(help="The folder of task folders.")] = Path("tasks"),
    population: Annotated[
        bool, typer.Option("--population/--no-population", help="Run the reference pipelines.")
    ] = True,
    sandbox: Annotated[
        str, typer.Option(help="Sandbox of the reference pipelines: docker, local or auto.")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make a small variant of a task, for training and tests, with a leaderboard of its own."""
    import asyncio

    from kernel_env.authoring import shrinking
    from kernel_env.tasks import catalog

    task = catalog.find(name)
    if population:
        print_message(f"{task.id}: running the reference pipelines on the small task")
    try:
        small = asyncio.run(
            shrinking.shrink(
                task,
                into,
                name=new_name,
                rows=rows,
                test_rows=test_rows,
                seed=seed,
                sandbox=sandbox,
                with_pipelines=population,
            )
        )
    except KeyboardInterrupt:
        fail("interrupted; no task folder was created", code=130)
    if small.why_no_pipelines:
        print_message(f"the reference pipelines did not run: {small.why_no_pipelines}")
    if json:
        print_json(
            {
                "task": small.task.id,
                "of": task.id,
                "folder": str(small.task.folder),
                "rows": small.rows,
                "test_rows": small.test_rows,
                "entries": small.entries,
                "agreement": small.agreement,
            }
        )
        return
    print_result(
        f"{small.task.folder}: {small.rows:,} training rows, {small.test_rows:,} test rows,"
        f" {small.entries} entries on the leaderboard"
    )
    if small.agreement is not None:
        print_result(
            f"the order of the pipelines on both leaderboards agrees with {small.agreement:.2f}"
            " (Spearman, 1 is the same order)"
        )
