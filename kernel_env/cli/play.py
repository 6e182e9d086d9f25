"""Implement `kernel-env play`: let a person solve a task in JupyterLab, as an agent does."""

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kernel_env.cli.console import print_message, progress
from kernel_env.cli.run import (
    CellSeconds,
    CountsRule,
    Devices,
    GpuDevice,
    Gpus,
    ImageName,
    Sandbox,
    Steps,
    Submissions,
    named_devices,
    show,
    show_json,
)

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from kernel_env.episode import EpisodeConfig
    from kernel_env.episode.result import EpisodeResult
    from kernel_env.grading.protocol import Counts, Feedback
    from kernel_env.play import Session

END_S = 15.0
"""Time limit for JupyterLab to end."""


def play(
    task: Annotated[str, typer.Argument(help="A task's name or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    sandbox: Sandbox = "auto",
    image: ImageName = "",
    feedback: Annotated[
        str | None,
        typer.Option(
            help="Scores that you see: public, both, ladder or validity (default: the task's)."
        ),
    ] = None,
    counts: CountsRule = None,
    submissions: Submissions = None,
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    steps: Steps = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit, seconds (default: the task's).")
    ] = None,
    cell_seconds: CellSeconds = None,
    browser: Annotated[bool, typer.Option(help="Open JupyterLab in a browser.")] = True,
    lab: Annotated[
        bool, typer.Option(help="Start JupyterLab; otherwise print the connection file.")
    ] = True,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1 (0: a free one).")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Solve a task yourself, under the rules, budget and grader of an agent.

    The episode ends when you shut the kernel down, leave JupyterLab, or press Ctrl-C.
    """
    import asyncio

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
        from kernel_env.jupyter.lab import require

        require()
    with progress() as report:
        prepare_tasks([config], report)
    result = asyncio.run(play_once(config, lab=lab, browser=browser, port=port))
    if json:
        show_json(result)
    else:
        show([result])
    if result.error:
        raise typer.Exit(1)


async def play_once(
    config: "EpisodeConfig", *, lab: bool, browser: bool, port: int
) -> "EpisodeResult":
    """Let a person play an episode; return its result."""
    import asyncio
    import signal
    from contextlib import AsyncExitStack

    from kernel_env.errors import KernelEnvError
    from kernel_env.play import open_session

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    session: Session | None = None
    try:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session(config))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, stopped.set)
            ends: list[Coroutine[Any, Any, object]] = [stopped.wait(), session.wait()]
            if lab:
                notebook, file = session.write_notebook(), session.connection_file
                opened = running_lab(file, notebook, browser=browser, port=port)
                process = await stack.enter_async_context(opened)
                ends.append(process.wait())
            else:
                print_message(f"connect: jupyter console --existing {session.connection_file}")
            await first_of(ends)
            if lab and process.returncode:
                print_message(f"JupyterLab ended with exit code {process.returncode}")
    except KernelEnvError:
        if session is None or session.episode.result is None:
            raise  # the episode did not begin, or its result could not be stored
    result = session.episode.result
    assert result is not None, "a closed episode has a result"
    return result


async def first_of(ends: "Sequence[Coroutine[Any, Any, object]]") -> None:
    """Wait until the first of these has ended, and cancel the others. Raises what that raises."""
    import asyncio

    tasks = [asyncio.create_task(end) for end in ends]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    for task in done:
        task.result()


@asynccontextmanager
async def running_lab(
    file: Path, notebook: Path, *, browser: bool, port: int
) -> "AsyncIterator[Process]":
    """Run JupyterLab in a process of its own until the block is left.

    Args:
        file: the connection file of its kernel.
        notebook: the notebook that it opens.
        browser: whether to open it in a browser; its address is printed in any case.
        port: the port on 127.0.0.1; 0 for a free one.
    """
    import asyncio
    import os
    import signal

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernel_env.cli", "open", str(notebook), "--existing", str(file)),
        *("--browser" if browser else "--no-browser", "--port", str(port)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,  # Ctrl-C ends the episode first, and that ends it
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
