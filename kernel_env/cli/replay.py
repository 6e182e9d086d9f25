"""Implement `kernel-env replay`: run an episode again; with `--verify`, compare what comes out."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.run import Devices, GpuDevice, Gpus, Sandbox, named_devices, run_and_print


def replay(
    context: typer.Context,
    notebook: Annotated[
        Path,
        typer.Argument(
            help="The folder, journal or notebook of an episode; with --task, any notebook."
        ),
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare each step with the recorded one.")
    ] = False,
    final_only: Annotated[
        bool,
        typer.Option("--final-only", help="Verify only the submission that counts."),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far scores may be apart, relative (default: 0.001)."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit of a verification (default: the recorded one).")
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Sign what was reproduced, with a private Ed25519 key."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Check that the owner of this public key signed it."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task (default: the one of the episode).")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the runs; with --verify, nothing is kept without it.")
    ] = Path("runs"),
    sandbox: Sandbox = "auto",
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Run the actions of an episode in a new one.

    With --verify it is compared with the recorded one, and the last line is a verdict: REPRODUCED
    (exit code 0), DRIFTED (1), FAILED (3), or TAMPERED (4). With --check alone nothing is run.

    The code is not trusted: without a Docker engine, only `--sandbox local` runs it.
    """
    from kernel_env.errors import UsageError

    if verify or check:
        from kernel_env.audit.trajectory.steps import TOLERANCE
        from kernel_env.audit.trajectory.verify import Options
        from kernel_env.cli.verification import verify_and_print

        source = context.get_parameter_source("out")
        options = Options(
            task=task,
            sandbox=sandbox,
            out=None if source is None or source.name == "DEFAULT" else out,
            gpus=gpus,
            gpu_device=gpu_device,
            devices=named_devices(device),
            seconds=seconds,
            tolerance=TOLERANCE if tolerance is None else tolerance,
            final_only=final_only,
        )
        verify_and_print(notebook, options if verify else None, sign=sign, check=check, json=json)
        return
    given = {"--final-only": final_only, "--tolerance": tolerance, "--seconds": seconds}
    for name, value in {**given, "--sign": sign}.items():
        if value not in (None, False):
            raise UsageError(f"{name} is an option of --verify; add --verify")
    play(notebook, task, out, sandbox, gpus, gpu_device, device, json=json)


def play(
    notebook: Path,
    task: str | None,
    out: Path,
    sandbox: str,
    gpus: int | None,
    gpu_device: str,
    device: list[str] | None,
    *,
    json: bool,
) -> None:
    """Run the actions of an episode in a new one, and print its result."""
    from kernel_env.agents.base import Options
    from kernel_env.agents.script import is_recorded
    from kernel_env.episode import EpisodeConfig
    from kernel_env.episode.reading import read_trajectory, source_of
    from kernel_env.errors import UsageError
    from kernel_env.grading.reward import BUILT_IN
    from kernel_env.runner import Plan, make_agent
    from kernel_env.tasks import catalog

    notebook = source_of(notebook)
    budget, image, reward = {}, "", EpisodeConfig.reward
    if task is None:
        if not is_recorded(notebook):
            raise UsageError(f"{notebook} does not name its task; give it with --task")
        past = read_trajectory(notebook)
        task, budget = past.header.task, {"steps": past.header.budget.steps}
        image = past.header.image
        reward = past.header.reward if past.header.reward in BUILT_IN else EpisodeConfig.reward
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
        reward=reward,
        gpus=gpus,
        gpu_device=gpu_device,
        devices=named_devices(device),
    )
    plan = Plan(config=config, options=Options(script=notebook))
    make_agent(plan)
    run_and_print([plan], json=json)
