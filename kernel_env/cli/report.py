"""Implement `kernel-env report`: report finished runs, list runs, or show forks as a tree."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_env.cli.console import (
    print_json,
    print_message,
    print_result,
    print_table,
    steps_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def report(
    context: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Folders of runs, searched recursively."),
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="mle-bench (JSON); list: a table; tree: a page of an episode and its forks.",
        ),
    ] = "mle-bench",
    out: Annotated[Path, typer.Option(help="tree: the file of the page.")] = Path("tree.html"),
    json_: Annotated[  # noqa: ARG001 - the context tells whether it was given
        bool, typer.Option("--json", help="list: print one JSON line per run.")
    ] = True,
) -> None:
    """Report finished runs in MLE-bench's JSON format, list all runs, or show forks as a tree.

    The report has scores, thresholds and medals. The list has task, agent, status, scores, date and
    folder of each run, finished or not. The tree is a page with scores, code and plots of each
    branch.
    """
    from kernel_env.episode.tree_page import write_tree
    from kernel_env.errors import UnknownName
    from kernel_env.report import listing, mle_bench
    from kernel_env.report import runs as finished

    def skip(run: Path, reason: str) -> None:
        print_message(f"{run}: left out: {reason}")

    match format_:
        case mle_bench.FORMAT:
            print_json(finished.report(runs, skip=skip), indent=2)
        case listing.LIST:
            source = context.get_parameter_source("json_")
            as_json = source is not None and source.name == "COMMANDLINE"
            show(listing.listed(runs, skip=skip), as_json=as_json)
        case "tree":
            write_tree(listing.journals_of(runs), out)
            print_result(f"page: {out}")
        case _:
            raise UnknownName("format", format_, [mle_bench.FORMAT, listing.LIST, "tree"])


def show(rows: "Iterable[dict[str, Any]]", *, as_json: bool) -> None:
    """Print runs as a table or as JSON lines."""
    if as_json:
        for row in rows:
            print_json(row)
        return

    def number(value: Any) -> str:
        return f"{value:.5f}" if isinstance(value, int | float) else "–"

    print_table(
        ["task", "agent", "status", "steps", "score public / private", "started", "folder"],
        [
            [
                row["task"],
                f"{row['agent']} {row['model']}".strip(),
                str(row["status"]),
                "–" if row["steps"] is None else steps_text(row["steps"], row["human_steps"]),
                f"{number(row['public_score'])} / {number(row['private_score'])}",
                row["started"],
                row["folder"],
            ]
            for row in rows
        ],
    )
