"""Implement `kernel-env tasks check`: check task folders, and print one line per check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_message, print_result, progress
from kernel_env.cli.run import GpuDevice, Gpus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_env.audit.task import Finding

NO_NAMES: list[str] = []
VERDICT_LABELS = {"ok": "ok", "failed": "FAILED", "not applicable": "n/a", "not run": "not run"}


def check(
    names: Annotated[
        list[str], typer.Argument(metavar="[TASK…]", help="Names or task folders.")
    ] = NO_NAMES,
    all_: Annotated[bool, typer.Option("--all", help="Check every known task.")] = False,
    sandbox: Annotated[
        str, typer.Option(help="docker, local or auto; exploits run only in containers.")
    ] = "auto",
    fast: Annotated[bool, typer.Option("--fast", help="Do not run the solutions.")] = False,
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per check.")] = False,
) -> None:
    """Check tasks for leaked answers, exploits, and wrong metrics or leaderboards."""
    import asyncio

    from kernel_env.audit.task import check as check_task
    from kernel_env.errors import UsageError
    from kernel_env.sandbox.gpus import names_in, select
    from kernel_env.tasks import catalog

    if bool(names) == all_:
        raise UsageError("give either the tasks to check or --all")
    select(gpus, names_in(gpu_device))
    if all_:
        folders = [folder for _, folder in sorted(catalog.task_folders().items())]
    else:
        folders = [catalog.folder_of(name) for name in names]
    build_images(folders, sandbox, len(names_in(gpu_device)) or gpus, fast=fast)
    try:
        failures = [
            asyncio.run(
                print_findings(
                    folder,
                    check_task(
                        folder, sandbox=sandbox, fast=fast, gpus=gpus, gpu_device=gpu_device
                    ),
                    json=json,
                )
            )
            for folder in folders
        ]
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    if len(folders) > 1:
        bad = [folder.name for folder, count in zip(folders, failures, strict=True) if count]
        print_message(f"{len(folders) - len(bad)} of {len(folders)} tasks passed")
        if bad:
            print_message(f"failed: {', '.join(bad)}")
    if any(failures):
        raise typer.Exit(1)


def build_images(folders: list[Path], sandbox: str, gpus: int | None, *, fast: bool) -> None:
    """Build the images of these tasks if the sandbox uses containers.

    Args:
        folders: the task folders.
        sandbox: the sandbox's name.
        gpus: how many GPUs each task gets; None for what its task.toml asks for.
        fast: whether to leave out the images that only solutions need.
    """
    from kernel_env.errors import TaskError
    from kernel_env.sandbox.selection import choose
    from kernel_env.tasks import spec

    selected, _ = choose(sandbox, trusted=True)
    if selected != "docker":
        return
    from kernel_env.sandbox.docker import engine, images

    required = set()
    for folder in folders:
        try:
            task = spec.load(folder)
        except TaskError:
            continue  # the check of this task reports the error
        cuda = (task.file.resources.gpus if gpus is None else gpus) > 0
        others = set() if fast else task.other_solutions.keys() & images.known().keys()
        required |= {(name, cuda) for name in {task.file.image, *others}}
    client = engine.connect()
    with progress() as report:
        for name, cuda in sorted(required):
            images.build(client, images.find(name, cuda=cuda), report)
    client.close()


async def print_findings(folder: Path, checks: "AsyncIterator[Finding]", *, json: bool) -> int:
    """Check one task, print each finding at once, and return the number of failures."""
    findings = []
    if not json:
        print_result(folder.name)
    async for finding in checks:
        findings.append(finding)
        show_json(folder, finding) if json else show(finding)
    if not json:
        counts = {name: sum(f.verdict == name for f in findings) for name in VERDICT_LABELS}
        shown = [f"{count} {name}" for name, count in counts.items() if count or name == "failed"]
        print_result(f"  {', '.join(shown)}")
    return sum(finding.verdict == "failed" for finding in findings)


def show(finding: "Finding") -> None:
    """Print a finding as a line of text."""
    print_result(f"  {VERDICT_LABELS[finding.verdict]:<8} {finding.check:<24} {finding.text}")


def show_json(folder: Path, finding: "Finding") -> None:
    """Print a finding as a line of JSON."""
    from dataclasses import asdict

    print_json({"task": folder.name, **asdict(finding)})
