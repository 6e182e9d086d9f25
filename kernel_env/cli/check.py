"""`kernel-env tasks check TASK…`: prove task folders sound; a line for each check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import answer, answer_json, fail, note, progress

if TYPE_CHECKING:
    from kernel_env.audit.task import Finding

NOTHING: list[str] = []
SHOWN = {"ok": "ok", "failed": "FAILED", "not applicable": "n/a", "not run": "not run"}


def check(
    names: Annotated[
        list[str], typer.Argument(metavar="[TASK…]", help="Names or task folders.")
    ] = NOTHING,
    everything: Annotated[bool, typer.Option("--all", help="Every task that is found.")] = False,
    sandbox: Annotated[
        str, typer.Option(help="docker, local or auto; cheats are tried in containers alone.")
    ] = "auto",
    fast: Annotated[bool, typer.Option("--fast", help="Leave the solutions out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line for each check.")] = False,
) -> None:
    """Prove task folders sound: nothing shared, nothing given away, the board as it should be."""
    import asyncio

    from kernel_env.errors import UsageError
    from kernel_env.tasks import catalog

    if bool(names) == everything:
        raise UsageError("say which tasks are to be checked, or --all (not both)")
    if everything:
        folders = [folder for _, folder in sorted(catalog.task_folders().items())]
    else:
        folders = [catalog.folder_of(name) for name in names]
    build(folders, sandbox)
    try:
        failures = [asyncio.run(checked(f, sandbox, fast=fast, json=json)) for f in folders]
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    if len(folders) > 1:
        bad = [folder.name for folder, count in zip(folders, failures, strict=True) if count]
        note(f"{len(folders) - len(bad)} of {len(folders)} tasks passed")
        if bad:
            note(f"failed: {', '.join(bad)}")
    if any(failures):
        raise typer.Exit(1)


def build(folders: list[Path], sandbox: str) -> None:
    """Build the images of these tasks where containers are used."""
    from kernel_env.errors import TaskError
    from kernel_env.sandbox.selection import choose
    from kernel_env.tasks import spec

    chosen, _ = choose(sandbox)
    if chosen != "docker":
        return
    from kernel_env.sandbox.docker import engine, images

    wanted = set()
    for folder in folders:
        try:
            wanted.add(spec.load(folder).file.image)
        except TaskError:
            continue  # its check will say so
    client = engine.connect()
    with progress() as tell:
        for name in sorted(wanted):
            images.build(client, images.find(name), tell)
    client.close()


async def checked(folder: Path, sandbox: str, *, fast: bool, json: bool) -> int:
    """Check one task, print as it goes, and count the failures."""
    from kernel_env.audit import task

    findings = []
    if not json:
        answer(folder.name)
    async for finding in task.check(folder, sandbox=sandbox, fast=fast):
        findings.append(finding)
        show_json(folder, finding) if json else show(finding)
    if not json:
        counted = {name: sum(f.verdict == name for f in findings) for name in SHOWN}
        said = [f"{count} {name}" for name, count in counted.items() if count or name == "failed"]
        answer(f"  {', '.join(said)}")
    return sum(finding.verdict == "failed" for finding in findings)


def show(finding: "Finding") -> None:
    """A finding as a line."""
    answer(f"  {SHOWN[finding.verdict]:<8} {finding.check:<24} {finding.text}")


def show_json(folder: Path, finding: "Finding") -> None:
    """A finding as a line of JSON."""
    from dataclasses import asdict

    answer_json({"task": folder.name, **asdict(finding)})
