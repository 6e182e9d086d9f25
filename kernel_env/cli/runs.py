"""Implement `kernel-env runs`: list past episodes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_env.cli.console import print_json, print_message, print_table, steps_text

if TYPE_CHECKING:
    from collections.abc import Iterable


def runs(
    folder: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]…", help="Folders of runs, searched recursively (default: runs)."
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="Order; -COLUMN is downwards.")
    ] = "started",
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Rows to show, such as task=adult-income, 'place>0.5', status!=finished or"
            " agent~open (contains); repeatable.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show only the last ones of that order.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per run.")] = False,
) -> None:
    """List past episodes: task, agent, model, status, scores, place, steps, time, cost and folder.

    Any field of the record can be a column of --sort and --where; nested ones have a dot, such as
    usage.tokens. In Python, `kernel_env.load_runs(folder)` gives them as a DataFrame.
    """
    from kernel_env.report import listing

    def skip(run: Path, reason: str) -> None:
        print_message(f"{run}: left out: {reason}")

    rows = listing.read_rows(folder or [Path("runs")], skip)
    rows = listing.ordered(listing.select(rows, where or []), sort)
    rows = rows[-limit:] if limit else rows
    if json:
        for row in rows:
            print_json({name: row.get(name) for name in listing.COLUMNS})
    else:
        show(rows)


def show(rows: "Iterable[dict[str, Any]]") -> None:
    """Print runs as a table."""

    def number(value: Any, digits: str = ".5g") -> str:
        return format(value, digits) if isinstance(value, int | float) else "–"

    def cost(row: dict[str, Any]) -> str:
        if row["money"]:
            return f"${row['money']:.4f}"
        return f"{row['tokens']:,} tokens" if row["tokens"] else "–"

    print_table(
        [
            *("task", "agent", "status", "public / private", "place", "steps", "time", "cost"),
            *("started", "folder"),
        ],
        [
            [
                str(row["task"]),
                f"{row['agent']} {row['model']}".strip(),
                str(row["status"]),
                f"{number(row['public_score'])} / {number(row['private_score'])}",
                number(row["place"], ".0%"),
                "–" if row["steps"] is None else steps_text(row["steps"], row["human_steps"]),
                f"{row['seconds']:.0f} s" if row["seconds"] is not None else "–",
                cost(row),
                str(row["started"])[:16].replace("T", " "),
                row["folder"],
            ]
            for row in rows
        ],
    )
