"""`kernel-env report --format mle-bench RUN…`: finished runs in another benchmark's words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kernel_env.cli.console import answer, note


class NoMedals(Exception):
    """A run's task has no board of human teams, or is not here."""


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders with record.json somewhere below.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="mle-bench.")
    ] = "mle-bench",
    json_: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = True,  # noqa: ARG001
) -> None:
    """Report finished runs as MLE-bench does: scores, thresholds and medals, as JSON."""
    from kernel_env.errors import UnknownName, UsageError
    from kernel_env.report import mle_bench

    if format_ != mle_bench.FORMAT:
        raise UnknownName("format", format_, [mle_bench.FORMAT])
    found = [record for run in runs for record in records(run)]
    reports = []
    for record in found:
        try:
            reports.append(of_run(record))
        except NoMedals as why:
            note(f"{record.parent}: left out: {why}")
    if not reports:
        raise UsageError(
            f"none of these {len(found)} runs is of a task with a leaderboard of human teams, and"
            " so there are no medals; `kernel-env tasks import` has such tasks"
        )
    answer(json.dumps(mle_bench.summary(reports), indent=2))


def records(run: Path) -> Iterator[Path]:
    """The record.json files at or below a path. Raises `UsageError`."""
    from kernel_env.episode.result import RECORD
    from kernel_env.errors import UsageError

    found = [run] if run.is_file() else sorted(run.rglob(RECORD))
    if not found:
        raise UsageError(f"{run} has no {RECORD} below it; give the folder of a finished run")
    yield from found


def of_run(path: Path) -> dict[str, Any]:
    """One run's report. Raises `NoMedals`, and `UsageError` for what is no run's record."""
    from datetime import UTC, datetime

    from kernel_env.episode.journal import JOURNAL, read_journal
    from kernel_env.episode.submissions import kept
    from kernel_env.errors import UnknownName, UsageError
    from kernel_env.report.mle_bench import competition_report
    from kernel_env.tasks import catalog

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        score, refusals = record["private_score"], record["refusals"]
        task = catalog.find(record["task"])
    except UnknownName as error:
        where = "the environment variable KERNEL_ENV_TASKS says where tasks lie"
        raise NoMedals(f"its task {record['task']!r} is not known here; {where}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no record of a run: {error}") from error
    if task.leaderboard.kind != "human" or not task.leaderboard.private:
        raise NoMedals(f"{task.id} has no leaderboard of human teams, and so no medals")
    ending = read_journal(path.with_name(JOURNAL)).ending
    step = ending.chosen_step if ending else None
    return competition_report(
        task.file.origin.id if task.file.origin else task.id,
        score,
        task.leaderboard.private,
        higher_is_better=task.scoring.higher_is_better,
        submission_exists=score is not None or refusals > 0,
        submission_path="" if step is None else str(kept(path.parent, step)),
        created_at=datetime.now(UTC).isoformat(),
    )
