"""Implement `kernel-env report`: compare agents in a page, a table, or the format of others."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_env.cli.console import (
    print_json,
    print_message,
    print_result,
    print_table,
    progress,
    steps_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel_env.report.html_report import Options
    from kernel_env.report.listing import Skip

FORMATS = ("html", "csv", "json", "markdown", "paper", "mle-bench", "list", "tree")


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
            help="html: a folder with the report as a page; csv, json, markdown: its table; paper:"
            " a table for a paper, Markdown and LaTeX; mle-bench: medals, JSON; list: a table of"
            " runs; tree: a page of an episode and its forks.",
        ),
    ] = "html",
    out: Annotated[
        Path | None,
        typer.Option(help="html: folder (default: report). tree: file (default: tree.html)."),
    ] = None,
    title: Annotated[
        str, typer.Option(help="html: the title (default: the name of the suite).")
    ] = "",
    measure: Annotated[
        str, typer.Option(help="What agents are compared by: position, human_rank, …")
    ] = "position",
    anchor: Annotated[
        str | None, typer.Option(help="The agent whose Elo is 1000 (default: baseline, if any).")
    ] = None,
    pages: Annotated[
        int, typer.Option(min=-1, help="html: at most so many pages of episodes; -1: all.")
    ] = 200,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="html: serve a page that renews itself, to this machine, until Ctrl-C."
        ),
    ] = False,
    json_: Annotated[  # noqa: ARG001 - the context tells whether it was given
        bool, typer.Option("--json", help="list: print one JSON line per run.")
    ] = True,
) -> None:
    """Compare agents by their runs: a page with tables, charts and every episode.

    The page needs no network and no server. It says which differences are more than noise, what is
    missing and why, and links to each step of each episode.
    """
    from kernel_env.episode.tree_page import write_tree
    from kernel_env.errors import UnknownName, UsageError
    from kernel_env.report import listing
    from kernel_env.report import runs as finished
    from kernel_env.untrusted_text import quote_name

    def skip(run: Path, reason: str) -> None:
        print_message(f"{run}: left out: {reason}")

    if serve and format_ != "html":
        raise UsageError(f"--serve shows a page; leave out --format {quote_name(format_)}")
    match format_:
        case "html" | "csv" | "json" | "markdown" | "paper":
            from kernel_env.report.html_report import Options

            options = Options(
                title=title, measure=measure, anchor=anchor, pages=None if pages < 0 else pages
            )
            if serve:
                serve_report(runs, out or Path("report"), options)
            elif format_ == "html":
                write_html(runs, out or Path("report"), options, skip)
            else:
                print_comparison(runs, format_, options, skip)
        case "mle-bench":
            print_json(finished.report(runs, skip=skip), indent=2)
        case listing.LIST:
            source = context.get_parameter_source("json_")
            as_json = source is not None and source.name == "COMMANDLINE"
            show(listing.listed(runs, skip=skip), as_json=as_json)
        case "tree":
            tree = out or Path("tree.html")
            write_tree(listing.journals_of(runs), tree)
            print_result(f"page: {tree}")
        case _:
            raise UnknownName("format", format_, FORMATS)


def write_html(runs: list[Path], out: Path, options: "Options", skip: "Skip") -> None:
    """Write the report as a page."""
    from kernel_env.report.html_report import write_report
    from kernel_env.report.recorded import find_recorded

    found = find_recorded(runs, skip)
    with progress() as show_progress:
        written = write_report(found, out, options, show_progress)
    for note in written.notes:
        print_message(note)
    print_result(f"page: {written.page}")


def serve_report(runs: list[Path], out: Path, options: "Options") -> None:
    """Serve the report until the program is interrupted."""
    from kernel_env.report.serve import LiveReport

    with LiveReport(runs, out, options) as live:
        print_result(f"report: {live.url}")
        with suppress(KeyboardInterrupt):
            live.serve()


def print_comparison(runs: list[Path], format_: str, options: "Options", skip: "Skip") -> None:
    """Print what the report is about in another format."""
    from kernel_env.ratings import paper, tables
    from kernel_env.report.html_report import compare_records
    from kernel_env.report.recorded import find_recorded

    comparison = compare_records(find_recorded(runs, skip), options)
    match format_:
        case "json":
            print_json(comparison.json(), indent=1)
            return
        case "csv":
            text = tables.as_csv(comparison)
        case "markdown":
            text = tables.markdown(comparison)
        case _:
            text = f"{paper.paper_markdown(comparison)}\n{paper.paper_latex(comparison)}"
    for line in text.splitlines():
        print_result(line)


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
