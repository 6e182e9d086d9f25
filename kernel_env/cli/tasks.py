"""Implement `kernel-env tasks`: list, show, prepare and create tasks."""

from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli import check, import_tasks, new, pack, shrink
from kernel_env.cli.console import (
    fail,
    is_narrow,
    print_json,
    print_markdown,
    print_message,
    print_result,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernel_env.tasks import Task
    from kernel_env.tasks.prepare import Prepared

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, prepare, check, create and import tasks.",
    rich_markup_mode=None,
)
app.command("check")(check.check)
app.command("import")(import_tasks.import_tasks)
app.command("new")(new.new)
app.command("pack")(pack.pack)
app.command("shrink")(shrink.shrink)

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


@app.command("list")
def list_(
    pack: Annotated[
        str | None, typer.Option(help="List the tasks that are made of a pack.")
    ] = None,
    json: Json = False,
) -> None:
    """List the tasks, and how many are made of each pack."""
    from kernel_env.tasks import catalog

    packs = catalog.packed_tasks()
    if pack is not None:
        catalog.check_made(pack)
        print_tasks(packs[pack], as_json=json)
        return
    of_packs = {name for tasks in packs.values() for name in tasks}
    others = {n: f for n, f in catalog.task_folders().items() if n not in of_packs}
    print_tasks(others, as_json=json)
    if json:
        return
    for name in sorted({*packs, *catalog.pack_manifests()}):
        tasks = packs.get(name, {})
        if tasks:
            print_message(f"pack {name}: {len(tasks)} tasks; kernel-env tasks list --pack {name}")
        else:
            print_message(f"pack {name}: not made; kernel-env tasks pack {name}")


def print_tasks(folders: "Mapping[str, Path]", *, as_json: bool) -> None:
    """Print a row for each task."""
    from kernel_env.errors import TaskError
    from kernel_env.tasks import spec
    from kernel_env.tasks.info import size_mb
    from kernel_env.tasks.prepare import readiness

    rows = []
    for name, folder in sorted(folders.items()):
        try:
            task = spec.load(folder)
        except TaskError as error:
            print_message(f"{name}: left out: {error}")
            continue
        rows.append(
            {
                "task": task.id,
                "domain": task.file.domain,
                "kind": task.file.kind,
                "metric": task.file.metric.title or task.file.metric.name,
                "higher_is_better": task.scoring.higher_is_better,
                "image": task.file.image,
                "raw_mb": size_mb(task),
                "leaderboard": f"{task.leaderboard.kind} ({len(task.leaderboard.public)})",
                "ready": readiness(task) == "yes",
                "readiness": readiness(task),
                "summary": task.file.summary,
            }
        )
    if as_json:
        for row in rows:
            print_json(row)
        return
    shown = ["task", "domain", "metric", "raw_mb", "leaderboard", "readiness"]
    shown += [] if is_narrow() else ["summary"]
    print_table(
        [{"raw_mb": "MB", "readiness": "ready"}.get(name, name) for name in shown],
        [["?" if row[name] is None else str(row[name]) for name in shown] for row in rows],
    )


@app.command("population")
def population(
    names: Annotated[list[str], typer.Argument(metavar="TASK…", help="Names or task folders.")],
    write: Annotated[bool, typer.Option(help="Replace the leaderboard.csv of each task.")] = False,
    sandbox: Annotated[str, typer.Option(help="docker, local, or auto.")] = "auto",
    json: Json = False,
) -> None:
    """Run the reference pipelines, whose scores make a task's leaderboard."""
    import asyncio
    from dataclasses import asdict

    from kernel_env.authoring.reference import leaderboard
    from kernel_env.tasks import catalog

    for task in [catalog.find(name) for name in names]:
        print_message(f"{task.id}: running the reference pipelines (some minutes)")
        found = asyncio.run(leaderboard.run_reference_pipelines(task, sandbox))
        entries = found.entries
        for name, why in found.left_out.items():
            print_message(f"{task.id}: left out {name}: {why}")
        if write:
            print_message(f"{task.id}: wrote {leaderboard.write(task, entries)}")
        if json:
            for entry in entries:
                print_json({"task": task.id, **asdict(entry)})
        else:
            scores = [[e.entry, f"{e.public_score}", f"{e.private_score}"] for e in entries]
            print_table(["entry", "public", "private"], scores, title=task.id)


@app.command("prepare")
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="TASK…", help="Names or task folders.")],
    json: Json = False,
) -> None:
    """Prepare tasks; data from Kaggle is downloaded with your credentials."""
    from kernel_env.cli.console import progress
    from kernel_env.tasks import catalog
    from kernel_env.tasks import prepare as preparation
    from kernel_env.tasks.info import size_mb

    for name in names:
        try:
            with progress() as report:
                task = preparation.obtain(catalog.find(name), report)
                report(f"{task.id}: preparing", None)
                prepared = preparation.prepare(task)
                if task.grade_file is not None:
                    report(f"{task.id}: trying its grader", None)
                grader = try_grader(task, prepared)
        except KeyboardInterrupt:
            fail("interrupted; downloaded data is kept, run the command again to resume", code=130)
        if json:
            print_json(
                {
                    "task": task.id,
                    "raw": str(task.raw),
                    "raw_mb": size_mb(task),
                    "public": str(prepared.public),
                    "leaderboard": f"{task.leaderboard.kind} ({len(task.leaderboard.public)})",
                }
            )
        else:
            print_result(f"{task.id}: ready in {prepared.public.parent}")
            if grader:
                print_message(f"{task.id}: {grader}")


def try_grader(task: "Task", prepared: "Prepared") -> str:
    """Try a task's grader. Raises `TaskError`, with the task's name."""
    import asyncio

    from kernel_env.errors import TaskError
    from kernel_env.tasks import prepare as preparation

    try:
        return asyncio.run(preparation.try_grader(task, prepared))
    except TaskError as error:
        raise TaskError(f"{task.id} is prepared, but cannot be graded: {error}") from error


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A name or a task folder.")],
    json: Json = False,
) -> None:
    """Show a task's description and metadata."""
    from kernel_env.tasks import catalog
    from kernel_env.tasks.info import metadata
    from kernel_env.tasks.prepare import instructions, missing, readiness

    task = catalog.find(name)
    ready = f"needs {what}; {instructions(task)}" if (what := missing(task)) else readiness(task)
    facts = metadata(task, {})
    if json:
        about = {**facts, "readiness": ready, "folder": str(task.folder)}
        print_json({**about, "description": task.description})
        return
    from kernel_env.report.tex import replace_formulas

    print_markdown(replace_formulas(task.description))
    print_result("")
    for fact, value in {**facts, "ready": ready}.items():
        print_result(f"{fact}: {format_value(value)}")


def format_value(value: object) -> str:
    """Return a value of a task's metadata as text."""
    match value:
        case None:
            return "unknown before the download"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,g}"
        case dict():
            return ", ".join(f"{name} {format_value(each)}" for name, each in value.items())
        case list() | tuple():
            return ", ".join(map(str, value))
    return str(value)
