"""Implement `kernel-env audit`: look for cheats in recorded episodes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_message, print_result, print_table


def audit(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders of runs, searched recursively.")
    ],
    canary: Annotated[
        list[str] | None,
        typer.Option(help="A text that was planted where no agent should read; repeatable."),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write each audit as cheats.json into the run's folder.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per run.")] = False,
) -> None:
    """Look for cheats in recorded episodes: forbidden paths, network, tampering, probing, …

    Nothing is run. A flag is a reason to look, no proof. Exits with 1 if there is any.
    """
    from kernel_env import cheats
    from kernel_env.errors import UsageError
    from kernel_env.export import find_runs

    def skip(run: Path, reason: str) -> None:
        print_message(f"{run}: left out: {reason}")

    flagged = count = 0
    for run in find_runs(runs, skip):
        found = cheats.audit(run.journal, canary or ())
        count += 1
        flagged += bool(found.flags)
        if save:
            cheats.save(found, run.journal.parent)
        if json:
            print_json({"run": str(run.journal.parent), **found.json()})
            continue
        if found.flags:
            rows = [[str(flag.step), flag.kind, flag.what] for flag in found.flags]
            print_table(["step", "flag", "what was found"], rows, title=str(run.journal.parent))
        for what in found.unchecked:
            print_message(f"{run.journal.parent}: not checked: {what}")
    if not count:
        raise UsageError("no run could be read; see the messages above")
    if not json:
        print_result(f"{flagged} of {count} episodes have flags")
    sys.exit(1 if flagged else 0)
