"""Implement `kernel-env attach`: open JupyterLab on the live kernel of a running episode."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_result


def attach(
    run: Annotated[Path, typer.Argument(help="Folder of a running episode, from run --attach.")],
    browser: Annotated[bool, typer.Option(help="Open JupyterLab in a browser.")] = True,
    lab: Annotated[
        bool, typer.Option(help="Start JupyterLab; otherwise print the connection file.")
    ] = True,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1 (0: a free one).")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and start nothing.")] = False,
) -> None:
    """Open JupyterLab on the live kernel of an episode that `kernel-env run --attach` runs.

    What you run is recorded as a person's, and not charged to the agent. Leaving JupyterLab does
    not end the kernel.
    """
    from kernel_env.episode.people import NAME, TITLE, find_served, write_notebook

    file = find_served(run).absolute()
    if json:
        print_json({"connection_file": str(file)})
    elif not lab:
        print_result(f"jupyter console --existing {file}")
    else:
        from kernel_env.jupyter import kernelspecs
        from kernel_env.jupyter.lab import require, run_lab

        require()
        run_lab(
            write_notebook(run).absolute(),
            {NAME: kernelspecs.definition_of_existing(file, TITLE)},
            browser=browser,
            port=port,
            announce=lambda address: print_result(f"open: {address}"),
        )
