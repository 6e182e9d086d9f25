"""Is the leaderboard what it should be, from the sample at its bottom to the oracle at its top?"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from kernel_env import temporary
from kernel_env.audit.task.finding import Finding, failed, not_applicable, not_run, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest
from kernel_env.errors import KernelEnvError, SubmissionError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.runner import Plan, run_episode
from kernel_env.tasks import Task
from kernel_env.tasks.columns import numbers
from kernel_env.tasks.prepare import grading_spec

BOTTOM = 0.25
"""Share of the board that an answer which knows nothing may beat."""
FEWEST = 4
"""Entries of a board on which that share is at least one."""
MIDDLE = 0.5
"""Share of the board that the solution must beat."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a submission stands on both boards."""

    position: float
    """Share of the entries beaten, on the board where it is higher."""
    rank: int
    """On the board where it is worse."""
    entries: int
    """Of the smaller board; 0 for a task without one."""
    scores: str
    """Public / private, for people."""


async def standing(case: TaskUnderTest, table: pd.DataFrame, grader: Grader) -> Standing:
    """Grade a table as a submission. Raises `SubmissionError`, `TaskError`."""
    data = table[case.task.scoring.form.columns].to_csv(index=False).encode()
    scores = await grader.grade(data, grading_spec(case.task, case.prepared), ("Public", "Private"))
    assert scores.public is not None
    assert scores.private is not None
    board, up = case.task.leaderboard, case.task.scoring.higher_is_better
    public = board.place(scores.public, "Public", higher_is_better=up)
    private = board.place(scores.private, "Private", higher_is_better=up)
    places = [place for place in (public, private) if place is not None]
    return Standing(
        position=max((place.position for place in places), default=0.0),
        rank=max((place.rank for place in places), default=1),
        entries=min((place.entries for place in places), default=0),
        scores=f"{scores.public:.5g} / {scores.private:.5g}",
    )


async def entries(case: TaskUnderTest, _: Grader) -> list[Finding]:
    """A reference board is a population, and not the constant answer alone."""
    check, board = "leaderboard", case.task.leaderboard
    count = max(len(board.public), len(board.private))
    if board.kind == "reference" and count < FEWEST:
        return [
            not_run(
                check,
                f"it has {count} of at least {FEWEST} reference entries, so a place on it says"
                f" nothing; make it: kernel-env tasks population {case.task.folder} --write",
            )
        ]
    return [ok(check, f"{count:,} {board.kind} entries")]


async def sample(case: TaskUnderTest, grader: Grader) -> list[Finding]:
    """The sample submission is valid and near the bottom of the board."""
    check = "sample submission"
    try:
        data = (case.public / "sample_submission.csv").read_bytes()
        await grader.grade(data, grading_spec(case.task, case.prepared), ("Public", "Private"))
        found = await standing(case, case.sample, grader)
    except SubmissionError as error:
        return [failed(check, f"it is refused: {error}")]
    except TaskError as error:
        return [failed(check, str(error))]
    if found.position > BOTTOM and found.entries < FEWEST:
        return [not_applicable(check, f"valid, but {too_few(found)}")]
    if found.position > BOTTOM:
        return [failed(check, f"it {beats(found)}; it must say nothing of the answers")]
    return [ok(check, f"valid, and {beats(found)}")]


async def constant(case: TaskUnderTest, grader: Grader) -> list[Finding]:
    """Answering the same for all rows, as training rows suggest, stays near the bottom."""
    check = "constant answer"
    if case.train is None:
        return [not_applicable(check, "there is no train.csv")]
    best: tuple[str, Standing] | None = None
    for said in constants(case, case.train):
        table = case.sample[case.ids].assign(**said)
        try:
            found = await standing(case, table, grader)
        except SubmissionError:
            continue  # this metric takes no such answer
        except TaskError as error:
            return [failed(check, str(error))]
        if best is None or found.position > best[1].position:
            best = ", ".join(map(str, said.values())), found
    if best is None:
        return [not_applicable(check, "the metric takes no constant")]
    if best[1].position > BOTTOM and best[1].entries < FEWEST:
        return [not_applicable(check, too_few(best[1]))]
    if best[1].position > BOTTOM:
        return [
            failed(
                check,
                f"saying {best[0]} for every row {beats(best[1])}; at most"
                f" {100 * BOTTOM:.0f} % is wanted: choose a metric that a constant cannot please,"
                " or make the board anew",
            )
        ]
    return [ok(check, f"the best, {best[0]}, {beats(best[1])}")]


def constants(case: TaskUnderTest, train: pd.DataFrame) -> list[dict[str, str | float]]:
    """Answers to try: the most frequent cell; of numbers the mean and the median; each class."""
    often: dict[str, str | float] = {t: train[t].mode().iloc[0] for t in case.targets}
    found = [often]
    amounts = {t: numbers(train[t]) for t in case.targets}
    if all(values is not None for values in amounts.values()):
        found.append({t: float(np.nanmean(v)) for t, v in amounts.items() if v is not None})
        found.append({t: float(np.nanmedian(v)) for t, v in amounts.items() if v is not None})
    if case.is_classes and len(case.targets) == 1:
        (target,) = case.targets
        classes = train[target].value_counts().index[1:20]
        found += [{target: str(one)} for one in classes]
    return found


async def oracle(case: TaskUnderTest, grader: Grader) -> list[Finding]:
    """The answers themselves are at the top of the board."""
    check = "oracle"
    try:
        found = await standing(case, case.answers, grader)
    except (SubmissionError, TaskError) as error:
        return [failed(check, f"the answers cannot be graded: {error}")]
    if not found.entries:
        return [not_applicable(check, f"scores {found.scores}; there is no leaderboard")]
    if found.rank > 1:
        return [
            failed(
                check,
                f"the answers themselves score {found.scores} and are only number {found.rank} of"
                f" {found.entries}; look at the metric's direction, the answers"
                " and leaderboard.csv",
            )
        ]
    return [ok(check, f"scores {found.scores}; no entry of the board is better")]


async def solution(task: Task, sandbox: str, grader: Grader) -> list[Finding]:
    """The task's own notebook, run as an agent's work, ends above the middle of the board."""
    check = "solution"
    if not task.solution.is_file():
        return [not_applicable(check, "there is no solution.ipynb")]
    with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as folder:
        plan = Plan(task=str(task.folder), agent="baseline", sandbox=sandbox, out=Path(folder))
        try:
            record = await run_episode(plan, grader=grader)
        except KernelEnvError as error:
            return [failed(check, str(error))]
    if record.error or record.status != "finished":
        why = record.error or f"its episode ended as {record.status!r}"
        return [failed(check, f"solution.ipynb did not run to its end: {why}")]
    if record.public_score is None or record.private_score is None:
        return [failed(check, "solution.ipynb leaves no valid submission")]
    positions = [p for p in (record.position_public, record.position_private) if p is not None]
    shares = " / ".join(f"{100 * position:.0f} %" for position in positions)
    said = f"it scores {record.public_score:.5g} / {record.private_score:.5g}"
    if not positions:
        return [not_applicable(check, f"{said}; there is no leaderboard")]
    said = f"{said} and beats {shares}"
    if min(positions) <= MIDDLE:
        return [
            failed(check, f"{said} of the board; more than half is wanted: better the notebook")
        ]
    return [ok(check, f"{said} of the board, in {record.seconds:.0f} s")]


def too_few(found: Standing) -> str:
    """Why nothing can be said of the board's bottom."""
    return f"a board of {found.entries} has no bottom quarter: run kernel-env tasks population"


def beats(found: Standing) -> str:
    """A standing in words."""
    return (
        f"scores {found.scores} and beats {100 * found.position:.0f} % of {found.entries} entries"
    )
