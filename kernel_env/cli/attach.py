"""Implement `kernel-env attach`: open JupyterLab on the live kernel of a running episode."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import print_result

if TYPE_CHECKING:
    from asyncio.subprocess import Process


END_S = 15.0
"""Time limit for JupyterLab to end."""


def attach(
    run: Annotated[Path, typer.Argument(help="Folder of a running episode, from run --attach.")],
    browser: Annotated[bool, typer.Option(help="Open JupyterLab in a browser.")] = True,
    lab: Annotated[
        bool, typer.Option(help="Start JupyterLab; otherwise print how to connect.")
    ] = True,
) -> None:
    """Open JupyterLab on the live kernel of an episode that `kernel-env run --attach` runs.

    What you run is recorded as a person's, and not charged to the agent. Leaving JupyterLab does
    not end the kernel.
    """
    from kernel_env.episode.people import find_served, write_notebook

    file = find_served(run)
    if not lab:
        print_result(f"jupyter console --existing {file}")
        return
    require_lab()
    notebook = write_notebook(run)
    raise typer.Exit(subprocess.call(lab_command(file, notebook, browser=browser)))


def require_lab() -> None:
    """Check that JupyterLab is installed. Raises `UsageError`."""
    from importlib.util import find_spec

    from kernel_env.errors import UsageError

    if find_spec("jupyterlab") is None:
        raise UsageError(
            "JupyterLab is not installed: pip install 'kernel-env[lab]'; or give --no-lab and"
            " connect with another Jupyter program"
        )


def lab_command(file: Path, notebook: Path, *, browser: bool) -> list[str]:
    """Return the command that opens JupyterLab on a kernel that is served.

    Args:
        file: the kernel's connection file.
        notebook: the notebook to open.
        browser: whether to open it in a browser; its address is printed in any case.
    """
    options = [] if browser else ["--no-browser"]
    argv = [sys.executable, "-m", "kernel_env.cli", "open", "--existing"]
    return [*argv, str(file), str(notebook), *options]


@asynccontextmanager
async def running_lab(file: Path, notebook: Path, *, browser: bool) -> "AsyncIterator[Process]":
    """Run JupyterLab until the block is left; see `lab_command`."""
    import asyncio
    import os
    import signal

    process = await asyncio.create_subprocess_exec(
        *lab_command(file, notebook, browser=browser),
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
