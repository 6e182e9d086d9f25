"""Implement `kernel-env play`: let a person solve a task in JupyterLab, as an agent does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kernel_env.cli.console import print_message, progress
from kernel_env.cli.run import Devices, GpuDevice, Gpus, named_devices, show, show_json

if TYPE_CHECKING:
    from kernel_env.episode import EpisodeConfig
    from kernel_env.episode.result import EpisodeResult
    from kernel_env.grading.protocol import Counts, Feedback


def play(
    task: Annotated[str, typer.Argument(help="A task's name or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    image: Annotated[str, typer.Option(help="Image of the sandbox (default: the task's).")] = "",
    feedback: Annotated[
        str | None,
        typer.Option(
            help="Scores that you see: public, both, ladder or validity (default: the task's)."
        ),
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(help="Which submission counts: best or last (default: the task's)."),
    ] = None,
    submissions: Annotated[
        int | None,
        typer.Option(help="Maximum number of graded submissions (default: the task's)."),
    ] = None,
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    steps: Annotated[
        int | None, typer.Option(help="Maximum number of steps (default: the task's).")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit, seconds (default: the task's).")
    ] = None,
    cell_seconds: Annotated[
        float | None, typer.Option(help="Time limit of a cell, seconds (default: the task's).")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open JupyterLab in a browser.")] = True,
    lab: Annotated[
        bool, typer.Option(help="Start JupyterLab; otherwise print how to connect.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Solve a task yourself, under the rules, budget and grader of an agent.

    The episode ends when you shut the kernel down, leave JupyterLab, or press Ctrl-C.
    """
    import asyncio

    from kernel_env.cli.attach import require_lab
    from kernel_env.episode import EpisodeConfig
    from kernel_env.play.session import AGENT
    from kernel_env.runner import prepare_tasks

    limits = {
        "steps": steps,
        "seconds": seconds,
        "cell_seconds": cell_seconds,
        "submissions": submissions,
    }
    config = EpisodeConfig(
        task=task,
        agent=AGENT,
        sandbox=sandbox,
        image=image,
        out=out,
        budget={name: limit for name, limit in limits.items() if limit is not None},
        feedback=cast("Feedback | None", feedback),
        counts=cast("Counts | None", counts),
        gpus=gpus,
        gpu_device=gpu_device,
        devices=named_devices(device),
    )
    if lab:
        require_lab()
    with progress() as report:
        prepare_tasks([config], report)
    result = asyncio.run(play_once(config, lab=lab, browser=browser))
    if json:
        show_json(result)
    else:
        show([result])
    if result.error:
        raise typer.Exit(1)


async def play_once(config: "EpisodeConfig", *, lab: bool, browser: bool) -> "EpisodeResult":
    """Let a person play an episode; return its result."""
    import asyncio
    import signal
    from contextlib import AsyncExitStack

    from kernel_env.cli.attach import running_lab
    from kernel_env.play import open_session

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(config))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        done: list[asyncio.Future[object]] = [
            asyncio.ensure_future(ended.wait()),
            asyncio.ensure_future(session.wait()),
        ]
        if lab:
            notebook = session.write_notebook()
            opened = running_lab(session.connection_file, notebook, browser=browser)
            process = await stack.enter_async_context(opened)
            done.append(asyncio.ensure_future(process.wait()))
        else:
            print_message(f"connect: jupyter console --existing {session.connection_file}")
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.cancel()
    result = session.episode.result
    assert result is not None, "a closed episode has a result"
    return result
