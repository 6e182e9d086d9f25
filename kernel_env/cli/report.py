"""`kernel-env report --format mle-bench RUN…`: report finished runs as another benchmark does."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import answer, note


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders with record.json somewhere below.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="mle-bench.")
    ] = "mle-bench",
    json_: Annotated[bool, typer.Option("--json", help="The report is always JSON.")] = True,  # noqa: ARG001
) -> None:
    """Report finished runs as MLE-bench does: scores, thresholds and medals, as JSON."""
    from kernel_env.errors import UnknownName
    from kernel_env.report import mle_bench
    from kernel_env.report import runs as finished

    if format_ != mle_bench.FORMAT:
        raise UnknownName("format", format_, [mle_bench.FORMAT])
    found = finished.report(runs, lambda run, why: note(f"{run}: left out: {why}"))
    answer(json.dumps(found, indent=2))
