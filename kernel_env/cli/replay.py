"""Implement `kernel-env replay`: run the actions of a notebook in a new episode."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.run import Devices, GpuDevice, Gpus, named_devices, run_and_print


def replay(
    notebook: Annotated[
        Path,
        typer.Argument(help="The notebook or the folder of an episode; with --task, any notebook."),
    ],
    task: Annotated[
        str | None, typer.Option(help="The task (default: the one of the episode).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Run the actions of a notebook in a new episode.

    The code is not trusted: without a Docker engine, only `--sandbox local` runs it.
    """
    from kernel_env.agents.base import Options
    from kernel_env.episode import EpisodeConfig
    from kernel_env.episode.notebook import NOTEBOOK
    from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
    from kernel_env.errors import UsageError
    from kernel_env.runner import Plan, make_agent
    from kernel_env.tasks import catalog

    if notebook.is_dir():
        notebook /= NOTEBOOK
    budget, image = {}, ""
    if task is None:
        found = read_notebook(notebook)
        if "kernel_env" not in found.metadata:
            raise UsageError(f"{notebook} does not name its task; give it with --task")
        past = parse_notebook(found)
        task, budget = past.header.task, {"steps": past.header.budget.steps}
        image = past.header.image
        if task not in catalog.task_folders():
            raise UsageError(
                f"{notebook} names the task {task!r}, which the catalogue does not have; a notebook"
                " cannot name a folder, whose programs would run on this machine. If you trust it,"
                " give it with --task"
            )
    config = EpisodeConfig(
        task=task,
        agent="scripted",
        trusted=False,
        sandbox=sandbox,
        image=image,
        out=out,
        budget=budget,
        gpus=gpus,
        gpu_device=gpu_device,
        devices=named_devices(device),
    )
    plan = Plan(config=config, options=Options(script=notebook))
    make_agent(plan)
    run_and_print([plan], json=json)
