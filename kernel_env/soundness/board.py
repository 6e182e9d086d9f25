"""Is the leaderboard what it should be, from the sample at its bottom to the oracle at its top?"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from kernel_env import temporary
from kernel_env.errors import KernelEnvError, SubmissionError, TaskError
from kernel_env.grading import leaderboard
from kernel_env.grading.process import Grader
from kernel_env.runner import Plan, run_episode
from kernel_env.soundness.case import Case, numbers
from kernel_env.soundness.finding import Finding, failed, not_applicable, ok
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import marking

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
    lowest: float
    """The same on the board where it is lower."""
    rank: int
    """On the board where it is worse."""
    scores: str
    """Public / private, for people."""


async def standing(case: Case, table: pd.DataFrame, grader: Grader) -> Standing:
    """Grade a table as a submission. Raises `SubmissionError`, `TaskError`."""
    data = table[case.task.scoring.form.columns].to_csv(index=False).encode()
    scores = await grader.grade(data, marking(case.task, case.prepared), ("Public", "Private"))
    assert scores.public is not None
    assert scores.private is not None
    board, up = case.task.leaderboard, case.task.scoring.higher_is_better
    public = leaderboard.place(scores.public, board.public, higher_is_better=up)
    private = leaderboard.place(scores.private, board.private, higher_is_better=up)
    return Standing(
        position=max(public.position, private.position),
        lowest=min(public.position, private.position),
        rank=max(public.rank, private.rank),
        scores=f"{scores.public:.5g} / {scores.private:.5g}",
    )


async def sample(case: Case, grader: Grader) -> list[Finding]:
    """The sample submission is valid and near the bottom of the board."""
    check = "sample submission"
    try:
        data = (case.public / "sample_submission.csv").read_bytes()
        await grader.grade(data, marking(case.task, case.prepared), ("Public", "Private"))
        found = await standing(case, case.sample, grader)
    except SubmissionError as error:
        return [failed(check, f"it is refused: {error}")]
    except TaskError as error:
        return [failed(check, str(error))]
    if found.position > BOTTOM and len(case.task.leaderboard.public) < FEWEST:
        return [not_applicable(check, f"valid, but {too_few(case)}")]
    if found.position > BOTTOM:
        return [failed(check, f"it {beats(case, found)}; it must say nothing of the answers")]
    return [ok(check, f"valid, and {beats(case, found)}")]


async def constant(case: Case, grader: Grader) -> list[Finding]:
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
    if best[1].position > BOTTOM and len(case.task.leaderboard.public) < FEWEST:
        return [not_applicable(check, too_few(case))]
    if best[1].position > BOTTOM:
        return [
            failed(
                check,
                f"saying {best[0]} for every row {beats(case, best[1])}; at most"
                f" {100 * BOTTOM:.0f} % is wanted: choose a metric that a constant cannot please,"
                " or make the board anew",
            )
        ]
    return [ok(check, f"the best, {best[0]}, {beats(case, best[1])}")]


def constants(case: Case, train: pd.DataFrame) -> list[dict[str, str | float]]:
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


async def oracle(case: Case, grader: Grader) -> list[Finding]:
    """The answers themselves are at the top of the board."""
    check = "oracle"
    try:
        found = await standing(case, case.answers, grader)
    except (SubmissionError, TaskError) as error:
        return [failed(check, f"the answers cannot be graded: {error}")]
    if found.rank > 1:
        return [
            failed(
                check,
                f"the answers themselves score {found.scores} and are only number {found.rank} of"
                f" {len(case.task.leaderboard.public)}; look at the metric's direction, the answers"
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
    if record.position_public is None or record.position_private is None:
        return [failed(check, "solution.ipynb leaves no valid submission")]
    shares = f"{100 * record.position_public:.0f} % / {100 * record.position_private:.0f} %"
    said = f"it scores {record.public_score:.5g} / {record.private_score:.5g} and beats {shares}"
    if min(record.position_public, record.position_private) <= MIDDLE:
        return [
            failed(check, f"{said} of the board; more than half is wanted: better the notebook")
        ]
    return [ok(check, f"{said} of the board, in {record.seconds:.0f} s")]


def too_few(case: Case) -> str:
    """Why nothing can be said of the board's bottom."""
    entries = len(case.task.leaderboard.public)
    return f"a board of {entries} has no bottom quarter: run kernel-env tasks population"


def beats(case: Case, found: Standing) -> str:
    """A standing in words."""
    share = f"{100 * found.position:.0f} %"
    return f"scores {found.scores} and beats {share} of {len(case.task.leaderboard.public)} entries"
