"""`kernel-env tasks …`: which tasks there are, what they ask for, and what makes them."""

from typing import Annotated

import typer

from kernel_env.cli import check, import_tasks, new
from kernel_env.cli.console import answer, answer_json, fail, is_narrow, note, table

app = typer.Typer(no_args_is_help=True, help="The tasks.", rich_markup_mode=None)
app.command("check")(check.check)
app.command("import")(import_tasks.import_tasks)
app.command("new")(new.new)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """Every task that is found, a line each."""
    from kernel_env.errors import TaskError
    from kernel_env.tasks import catalog, spec
    from kernel_env.tasks.info import size_mb
    from kernel_env.tasks.prepare import readiness

    rows = []
    for name, folder in sorted(catalog.task_folders().items()):
        try:
            task = spec.load(folder)
        except TaskError as error:
            note(f"{name} is left out: {error}")
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
    if json:
        for row in rows:
            answer_json(row)
        return
    shown = ["task", "domain", "metric", "raw_mb", "leaderboard", "readiness"]
    shown += [] if is_narrow() else ["summary"]
    table(
        [{"raw_mb": "MB", "readiness": "ready"}.get(name, name) for name in shown],
        [["?" if row[name] is None else str(row[name]) for name in shown] for row in rows],
    )


@app.command("population")
def population(
    names: Annotated[list[str], typer.Argument(metavar="TASK…")],
    write: Annotated[bool, typer.Option(help="Replace the tasks' leaderboard.csv.")] = False,
    sandbox: Annotated[str, typer.Option(help="docker, local, or auto.")] = "auto",
    json: Json = False,
) -> None:
    """Run the reference population on tasks, where agents run; it makes their leaderboards."""
    import asyncio
    from dataclasses import asdict

    from kernel_env.authoring.reference import leaderboard as pool
    from kernel_env.tasks import catalog

    for task in [catalog.find(name) for name in names]:
        note(f"{task.id}: running the population (some minutes)")
        entries = asyncio.run(pool.run_reference_pipelines(task, sandbox))
        if write:
            note(f"{task.id}: wrote {pool.write(task, entries)}")
        if json:
            for entry in entries:
                answer_json({"task": task.id, **asdict(entry)})
        else:
            scores = [[e.entry, f"{e.public_score}", f"{e.private_score}"] for e in entries]
            table(["entry", "public", "private"], scores, title=task.id)


@app.command("prepare")
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="TASK…", help="Names or task folders.")],
    json: Json = False,
) -> None:
    """Make tasks ready; what comes from Kaggle is downloaded with your credentials."""
    from kernel_env.cli.console import progress
    from kernel_env.tasks import catalog
    from kernel_env.tasks.info import size_mb
    from kernel_env.tasks.prepare import obtain
    from kernel_env.tasks.prepare import prepare as make_ready

    for name in names:
        try:
            with progress() as tell:
                task = obtain(catalog.find(name), tell)
                tell(f"{task.id}: preparing", None)
                ready = make_ready(task)
        except KeyboardInterrupt:
            fail("interrupted; what has arrived is kept, run it again to go on", code=130)
        board = f"{task.leaderboard.kind} ({len(task.leaderboard.public)})"
        said = {"task": task.id, "raw": str(task.raw), "raw_mb": size_mb(task)}
        said |= {"public": str(ready.public), "leaderboard": board}
        answer_json(said) if json else answer(f"{task.id}: ready in {ready.public.parent}")


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="TASK")], json: Json = False) -> None:
    """A task's description and facts."""
    from kernel_env.tasks import catalog
    from kernel_env.tasks.info import metadata
    from kernel_env.tasks.prepare import instructions, missing, readiness

    task = catalog.find(name)
    ready = f"needs {what}; {instructions(task)}" if (what := missing(task)) else readiness(task)
    if json:
        told = {**metadata(task, {}), "readiness": ready, "folder": str(task.folder)}
        answer_json({**told, "description": task.description})
        return
    from rich.console import Console
    from rich.markdown import Markdown

    from kernel_env.report.tex import readable

    Console().print(Markdown(readable(task.description)))
    answer("")
    for fact, value in {**metadata(task, {}), "ready": ready}.items():
        answer(f"{fact}: {in_words(value)}")


def in_words(value: object) -> str:
    """A fact for people."""
    match value:
        case None:
            return "not known before the download"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,g}"
        case dict():
            return ", ".join(f"{name} {in_words(each)}" for name, each in value.items())
        case list() | tuple():
            return ", ".join(map(str, value))
    return str(value)
