"""`kernel-env export JOURNAL`: render the notebook of an episode whose host was killed."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import answer, answer_json


def export(
    journal: Annotated[Path, typer.Argument(help="journal.jsonl, or the folder it is in.")],
    out: Annotated[
        Path | None, typer.Option(help="The notebook; beside the journal if not given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Write the notebook of a journal: all steps that were acknowledged, ended or not."""
    from kernel_env.episode.journal import JOURNAL, read_journal
    from kernel_env.episode.notebook import NOTEBOOK, write_notebook

    path = journal / JOURNAL if journal.is_dir() else journal
    trajectory = read_journal(path)
    notebook = out or path.with_name(NOTEBOOK)
    write_notebook(trajectory, notebook)
    if json:
        answer_json({"notebook": str(notebook), "steps": len(trajectory.steps)})
    else:
        answer(f"notebook: {notebook}")
