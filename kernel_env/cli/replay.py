"""Implement `kernel-env replay`: run the actions of a notebook in a new episode."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.run import Devices, GpuDevice, Gpus, named_devices, run_and_print


def replay(
    notebook: Annotated[
        Path, typer.Argument(help="The notebook of an episode; with --task, any notebook.")
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
    """Run the actions of a notebook in a new episode."""
    from kernel_env.agents.base import Options
    from kernel_env.episode import EpisodeConfig
    from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
    from kernel_env.errors import UsageError
    from kernel_env.runner import Plan, make_agent

    budget, image = {}, ""
    if task is None:
        found = read_notebook(notebook)
        if "kernel_env" not in found.metadata:
            raise UsageError(f"{notebook} does not name its task; give it with --task")
        past = parse_notebook(found)
        task, budget = past.header.task, {"steps": past.header.budget.steps}
        image = past.header.image
    config = EpisodeConfig(
        task=task,
        agent="scripted",
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
