"""Implement `kernel-env report`: report finished runs in another benchmark's format."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_message


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Folders of finished runs, searched recursively."),
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="mle-bench.")
    ] = "mle-bench",
    json_: Annotated[bool, typer.Option("--json", help="Always on: the report is JSON.")] = True,  # noqa: ARG001
) -> None:
    """Report finished runs in MLE-bench's JSON format: scores, thresholds and medals."""
    from kernel_env.errors import UnknownName
    from kernel_env.report import mle_bench
    from kernel_env.report import runs as finished

    if format_ != mle_bench.FORMAT:
        raise UnknownName("format", format_, [mle_bench.FORMAT])
    document = finished.report(
        runs, skip=lambda run, reason: print_message(f"{run}: left out: {reason}")
    )
    print_json(document, indent=2)
