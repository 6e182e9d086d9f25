"""Report finished runs in MLE-bench's format."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.result import RECORD
from kernel_env.episode.step import Rejected
from kernel_env.episode.submissions import submission_file
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError
from kernel_env.report import mle_bench
from kernel_env.report.mle_bench import competition_report, summary
from kernel_env.tasks import catalog, spec

RECORDED: TypeAdapter[float | None] = TypeAdapter(float | None)
"""The private score in a record."""


class NoMedals(Exception):
    """A run without medals: its task is unknown, or has no leaderboard of human teams."""


def report(runs: Iterable[Path], skip: Callable[[Path, str], None]) -> dict[str, Any]:
    """Report all runs at or below the given paths.

    Args:
        runs: folders or `record.json` files.
        skip: called with the folder and the reason for each run without medals.

    Raises `UsageError` if a path has no run, if a record is not valid, or if no run has medals.
    """
    found = [record for run in runs for record in records(run)]
    reports = []
    for record in found:
        try:
            reports.append(report_run(record))
        except NoMedals as error:
            skip(record.parent, str(error))
    if not reports:
        raise UsageError(
            f"none of these {len(found)} runs is of a task with a leaderboard of human teams, so"
            " there are no medals; `kernel-env tasks import` imports such tasks"
        )
    return summary(reports)


def records(run: Path) -> Iterator[Path]:
    """Yield the `record.json` files at or below a path. Raises `UsageError` if there are none."""
    found = [run] if run.is_file() else sorted(run.rglob(RECORD))
    if not found:
        raise UsageError(f"{run} has no {RECORD} below it; give the folder of a finished run")
    yield from found


def report_run(path: Path) -> dict[str, Any]:
    """Report one run, from its `record.json`. Raises `NoMedals`, `UsageError`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        score, refusals = RECORDED.validate_python(record["private_score"]), int(record["refusals"])
        name = record["task"]
        folder = catalog.task_folders().get(name)  # a record cannot name a folder
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not the record of a run: {error}") from error
    if folder is None:
        where = "set KERNEL_ENV_TASKS to the folder of its task folder"
        raise NoMedals(f"its task {name!r} is unknown; {where}")
    task = spec.load(folder)
    if task.leaderboard.kind != "human" or not task.leaderboard.private:
        raise NoMedals(f"{task.id} has no leaderboard of human teams, so there are no medals")
    origin = task.file.origin
    if origin and origin.benchmark != mle_bench.FORMAT:
        raise NoMedals(f"{task.id} is a task of {origin.benchmark}, not of MLE-bench")
    run = read_journal(path.with_name(JOURNAL))
    step = run.ending.chosen_step if run.ending else None
    competition = competition_report(
        origin.id if origin else task.id,
        score,
        task.leaderboard.private,
        higher_is_better=task.scoring.higher_is_better,
        submission_exists=score is not None or left_rejected(run, refusals),
        submission_path="" if step is None else str(submission_file(path.parent, step)),
        created_at=datetime.now(UTC).isoformat(),
    )
    if origin:  # only a competition of MLE-bench has its protocol
        people = sum(step.actor == "human" for step in run.steps)
        competition["protocol"] = mle_bench.protocol(run.header, human_steps=people)
    return competition


def left_rejected(run: Trajectory, refusals: int) -> bool:
    """Return whether a run without a score handed something in."""
    if run.header.counts != "last":
        return refusals > 0
    own = [step for step in run.steps if step.actor == "agent"]
    submissions = [step.submission for step in own if step.submission]
    return bool(submissions) and isinstance(submissions[-1], Rejected)
