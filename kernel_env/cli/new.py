"""Implement `kernel-env tasks new`: create a task folder from a table and a target column."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_message, print_result


def new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The task's name: small letters, digits, hyphens."),
    ],
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="PATH",
            help="A table (.csv, .csv.xz, .parquet …), or a folder with one sub-folder of pictures"
            " or texts for each class.",
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="The column to predict, or several by repetition (default for a folder: label).",
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="The rows' ids (default: row numbers)."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric's name (default: selected by the target).")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="random, group:COLUMN, time:COLUMN, group:COLUMN,time:COLUMN, or family:COLUMN,"
            " which is no feature (default: selected by the columns)."
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="tabular, language, vision or 'time series' (default: by the columns)."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="For a target of times: 1 where the event happened then, 0 where a row is"
            " censored. The metric is the concordance index.",
        ),
    ] = None,
    rare: Annotated[
        str | None,
        typer.Option(help="What to do with classes of fewer than 10 rows: drop or join."),
    ] = None,
    into: Annotated[Path, typer.Option(help="The folder of task folders.")] = Path("tasks"),
    population: Annotated[
        bool, typer.Option("--population/--no-population", help="Run the reference pipelines.")
    ] = True,
    sandbox: Annotated[
        str, typer.Option(help="Sandbox of the reference pipelines: docker, local or auto.")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Create a task folder with a leaderboard from a table, or from folders of files by class."""
    import asyncio

    from kernel_env.authoring import from_table
    from kernel_env.authoring.from_table import class_folders, pages
    from kernel_env.authoring.from_table import table as tables
    from kernel_env.errors import UsageError

    from_table.check_is_new(into, name)
    if source.is_dir():
        if id_column or split or domain or event or rare or len(target or ()) > 1:
            raise UsageError(
                "--id, --split, --domain, --event, --rare and several targets are for tables, not"
                " folders"
            )
        label = target[0] if target else class_folders.TARGET
        found = class_folders.read(source, label)
        cells = found.table
        design = class_folders.design_task(name, source, found, target=label, metric=metric)
    else:
        cells = tables.read(source)
        if not target:
            columns = ", ".join(map(str, cells.columns[:20]))
            raise UsageError(f"--target is missing; name the column to predict: {columns}")
        if rare is not None:
            cells = from_table.without_rare_classes(cells, target[0], rare)
        design = from_table.design(
            name,
            source,
            cells,
            target=target,
            id_column=id_column,
            metric=metric,
            split=split,
            domain=from_table.known_domain(domain),
            event=event,
        )
    by = f" by {design.split.column!r}" if design.split.column else ""
    print_message(f"kind: {design.kind} ({design.why_kind})")
    if design.positive is not None:
        print_message(f"target: 1 is {design.positive!r}")
    print_message(f"metric: {design.metric.name} ({design.why_metric})")
    print_message(f"split: {design.split.method}{by} ({design.split.why})")
    if design.left_out:
        targets = pages.listed([repr(target) for target in design.targets])
        print_message(f"{design.left_out:,} rows without {targets} are left out")
    print_message(f"domain: {design.domain}")
    if design.families is not None:
        print_message("rows that are nearly equal stay together")
    for remark in design.remarks:
        print_message(f"note: {remark}")
    if population:
        print_message("running the reference pipelines (some minutes)")
    try:
        task = asyncio.run(
            from_table.make(design, cells, into, sandbox=sandbox, with_pipelines=population)
        )
    except KeyboardInterrupt:
        fail("interrupted; no task folder was created", code=130)
    leaderboard = f"leaderboard.csv has {task.entries} entries"
    for pipeline, why in task.left_out.items():
        print_message(f"the reference pipeline {pipeline} does not fit: {why}")
    if task.why_no_pipelines:
        leaderboard = "leaderboard.csv has only the constant answer"
        print_message(f"the reference pipelines did not run: {task.why_no_pipelines}")
        print_message(f"to run them later: kernel-env tasks population {task.folder} --write")
    if json:
        print_json(
            {
                "task": design.name,
                "folder": str(task.folder),
                "kind": design.kind,
                "metric": design.metric.name,
                "split": design.split.method,
                "split_column": design.split.column or None,
                "positive": design.positive,
                "rows": design.rows,
                "left_out": design.left_out,
                "entries": task.entries,
                "pipelines_left_out": task.left_out,
                "without_population": task.why_no_pipelines or None,
            }
        )
        return
    print_result(f"{task.folder}: {leaderboard}")
    print_result("next: replace each TODO in description.md, then check it:")
    print_result(f"  kernel-env tasks check {task.folder}")
    print_result(f"then use its path, or its name with KERNEL_ENV_TASKS={task.folder.parent}:")
    print_result(f"  kernel-env run {task.folder} --agent …")
