"""Implement `kernel-env export`: write the notebook of an episode, also of a killed one."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_result


def export(
    journal: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run, its journal or notebook.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The notebook file (default: trajectory.ipynb in the run's folder)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the notebook of an episode, whether or not it has ended."""
    from kernel_env.episode.notebook import NOTEBOOK, write_notebook
    from kernel_env.episode.reading import read_trajectory, source_of

    trajectory = read_trajectory(journal)
    notebook = out or source_of(journal).with_name(NOTEBOOK)
    write_notebook(trajectory, notebook)
    if json:
        print_json({"notebook": str(notebook), "steps": len(trajectory.steps)})
    else:
        print_result(f"notebook: {notebook}")
