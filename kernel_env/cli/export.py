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
        typer.Option(help="The file (default: trajectory.ipynb, or .html, in the run's folder)."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write an HTML page instead (needs the extra html).")
    ] = False,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Sign the notebook as yours with this Ed25519 key."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the notebook of an episode, whether or not it has ended."""
    from kernel_env.cli.verification import read_key, refuse_changed, sign_notebook
    from kernel_env.episode.html_page import write_page
    from kernel_env.episode.notebook import NOTEBOOK, render, write_notebook
    from kernel_env.episode.reading import read_trajectory, source_of
    from kernel_env.errors import UsageError
    from kernel_env.report.page import page_of

    if html and sign:
        raise UsageError("--sign is for notebooks; a page has no place for a signature")
    key = read_key(sign) if sign else None
    if key is not None:
        refuse_changed(source_of(journal))
    trajectory = read_trajectory(journal)
    kind, file = "notebook", out or source_of(journal).with_name(NOTEBOOK)
    if html:
        kind, file = "page", out or file.with_suffix(".html")
        write_page(page_of(render(trajectory)), file)
    else:
        write_notebook(trajectory, file)
        if key is not None:
            sign_notebook(file, key, "made")
    if json:
        print_json({kind: str(file), "steps": len(trajectory.steps)})
    else:
        print_result(f"{kind}: {file}")
