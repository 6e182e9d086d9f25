"""`kernel-env tasks new NAME`: a task folder out of a table and a target column."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import answer, answer_json, fail, note


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, hyphens.")],
    table: Annotated[Path, typer.Option("--from", help="A table: .csv, .csv.xz, .parquet …")],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="What is to be predicted.")],
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Tells rows apart; else numbered.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Its name; else one that fits.")] = None,
    split: Annotated[
        str | None, typer.Option(help="random, group:COLUMN or time:COLUMN; else what fits.")
    ] = None,
    into: Annotated[Path, typer.Option(help="The folder of task folders.")] = Path("tasks"),
    population: Annotated[
        bool, typer.Option("--population/--no-population", help="Run the reference pipelines.")
    ] = True,
    sandbox: Annotated[str, typer.Option(help="Where they run: docker, local or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Make a task folder from a table and a target column, leaderboard included."""
    import asyncio

    from kernel_env.authoring import from_table
    from kernel_env.authoring.from_table.design import read

    cells = read(table)
    chosen = from_table.design(
        name, table, cells, target=target, id_column=id_column, metric=metric, split=split
    )
    by = f" by {chosen.split.column!r}" if chosen.split.column else ""
    note(f"kind: {chosen.kind} ({chosen.why_kind})")
    if chosen.positive is not None:
        note(f"target: 1 is {chosen.positive!r}")
    note(f"metric: {chosen.metric.name} ({chosen.why_metric})")
    note(f"split: {chosen.split.method}{by} ({chosen.split.why})")
    if chosen.left_out:
        note(f"{chosen.left_out:,} rows without {target!r} are left out")
    if population:
        note("running the population (some minutes)")
    try:
        made = asyncio.run(
            from_table.make(chosen, cells, into, sandbox=sandbox, with_pipelines=population)
        )
    except KeyboardInterrupt:
        fail("interrupted; nothing was made", code=130)
    board = f"leaderboard.csv has {made.entries} entries"
    if made.why_no_pipelines:
        board = "leaderboard.csv has the constant answer alone"
        note(f"the population did not run: {made.why_no_pipelines}")
        note(f"once it can: kernel-env tasks population {made.folder} --write")
    if json:
        answer_json(
            {
                "task": chosen.name,
                "folder": str(made.folder),
                "kind": chosen.kind,
                "metric": chosen.metric.name,
                "split": chosen.split.method,
                "split_column": chosen.split.column or None,
                "positive": chosen.positive,
                "rows": chosen.rows,
                "left_out": chosen.left_out,
                "entries": made.entries,
                "without_population": made.why_no_pipelines or None,
            }
        )
        return
    answer(f"{made.folder}: {board}")
    answer("next: fill in what says TODO in description.md, task.toml and NOTICE, then")
    answer(f"  kernel-env tasks check {made.folder}")
    answer(f"then, as any task, by its path or with KERNEL_ENV_TASKS={made.folder.parent}:")
    answer(f"  kernel-env run {made.folder} --agent …")
