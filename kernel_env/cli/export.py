"""Implement `kernel-env export`: write the notebook of a journal, also of a killed episode."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_result


def export(
    journal: Annotated[Path, typer.Argument(help="journal.jsonl, or its folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The notebook file (default: trajectory.ipynb beside the journal)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the notebook of a journal, whether or not its episode has ended."""
    from kernel_env.episode.journal import JOURNAL, read_journal
    from kernel_env.episode.notebook import NOTEBOOK, write_notebook

    path = journal / JOURNAL if journal.is_dir() else journal
    trajectory = read_journal(path)
    notebook = out or path.with_name(NOTEBOOK)
    write_notebook(trajectory, notebook)
    if json:
        print_json({"notebook": str(notebook), "steps": len(trajectory.steps)})
    else:
        print_result(f"notebook: {notebook}")
