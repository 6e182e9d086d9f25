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
