"""`kernel-env tasks list|show`: which tasks there are and what they ask for."""

from typing import Annotated

import typer

from kernel_env.cli.say import answer, answer_json, note, table

app = typer.Typer(no_args_is_help=True, help="The tasks.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """Every task that is found, a line each."""
    from kernel_env.errors import TaskError
    from kernel_env.tasks import catalog, spec
    from kernel_env.tasks.prepare import is_prepared

    rows = []
    for name, folder in sorted(catalog.found().items()):
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
                "metric": task.file.metric.name,
                "higher_is_better": task.scoring.higher_is_better,
                "image": task.file.image,
                "leaderboard": f"{task.leaderboard.kind} ({len(task.leaderboard.public)})",
                "ready": is_prepared(task),
                "summary": task.file.summary,
            }
        )
    if json:
        for row in rows:
            answer_json(row)
        return
    shown = ["task", "domain", "metric", "image", "leaderboard", "ready", "summary"]
    words = {True: "yes", False: "on first use"}
    table(shown, [[str(words.get(r[c], r[c])) for c in shown] for r in rows])  # type: ignore[call-overload]


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

    from kernel_env.runner import population as pool
    from kernel_env.tasks import catalog

    for task in [catalog.find(name) for name in names]:
        note(f"{task.id}: running the population (some minutes)")
        entries = asyncio.run(pool.population(task, sandbox))
        if write:
            note(f"{task.id}: wrote {pool.write(task, entries)}")
        if json:
            for entry in entries:
                answer_json({"task": task.id, **asdict(entry)})
        else:
            scores = [[e.entry, f"{e.public_score}", f"{e.private_score}"] for e in entries]
            table(["entry", "public", "private"], scores, title=task.id)


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="TASK")], json: Json = False) -> None:
    """A task's description and facts."""
    from kernel_env.tasks import catalog
    from kernel_env.tasks.info import metadata

    task = catalog.find(name)
    if json:
        answer_json({**metadata(task), "folder": str(task.folder), "description": task.description})
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(task.description))
    for fact, value in metadata(task).items():
        answer(f"{fact}: {value}")
