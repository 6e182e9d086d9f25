"""Check the grading process: scores, rejections, and metrics that fail or crash."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader, GradingSpec
from support.schemas import schema

BOTH = ("Public", "Private")
CONSTANT = [0.5] * 100
"""Predictions with a ROC AUC of 0.5."""


@pytest.fixture
async def grader() -> AsyncIterator[Grader]:
    async with Grader() as opened:
        yield opened


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    table = pd.DataFrame({"id": range(100), "y": [n % 2 for n in range(100)]})
    table["Usage"] = ["Public" if n < 40 else "Private" for n in range(100)]
    table.to_csv(tmp_path / "answers.csv", index=False)
    return tmp_path / "answers.csv"


def grading_spec(
    answers: Path, metric: str | None = "roc_auc", code: str | None = None
) -> GradingSpec:
    grade_file = None
    if code is not None:
        grade_file = answers.with_name("grade.py")
        grade_file.write_text(code)
    return GradingSpec(
        answers=answers, schema=schema(targets=("y",)), metric=metric, grade_file=grade_file
    )


def submission(values: list[float]) -> bytes:
    return pd.DataFrame({"id": range(100), "y": values}).to_csv(index=False).encode()


async def test_each_split_is_scored_separately(grader: Grader, answers: Path) -> None:
    values = [(n % 2) * 0.3 + (n * 37 % 100) / 100 for n in range(100)]

    scores = await grader.grade(submission(values), grading_spec(answers), BOTH)

    truth = [n % 2 for n in range(100)]
    assert scores.public == pytest.approx(roc_auc_score(truth[:40], values[:40]))
    assert scores.private == pytest.approx(roc_auc_score(truth[40:], values[40:]))


async def test_the_private_score_is_computed_only_on_request(grader: Grader, answers: Path) -> None:
    scores = await grader.grade(submission(CONSTANT), grading_spec(answers), ("Public",))

    assert scores.private is None


async def test_an_incomplete_submission_is_rejected(grader: Grader, answers: Path) -> None:
    with pytest.raises(SubmissionError, match="100 ids are missing"):
        await grader.grade(b"id,y\n", grading_spec(answers), BOTH)


async def test_a_failing_metric_is_a_task_error_and_grading_continues(
    grader: Grader, answers: Path
) -> None:
    failing = grading_spec(
        answers, None, "def grade(answers, submission):\n    raise KeyError('oops')\n"
    )
    with pytest.raises(TaskError, match=r"the metric failed: KeyError: 'oops' \(grade.py:2\)"):
        await grader.grade(submission(CONSTANT), failing, BOTH)

    scores = await grader.grade(submission(CONSTANT), grading_spec(answers), BOTH)
    assert scores.public == 0.5


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        'print(\'{"kind": "scores", "scores": {"public": 1.0}}\')\nraise SystemExit',
        "return float('nan')",
        "return 'many'",
        "return b'x' * (1 << 40)",
    ],
)
async def test_a_crashing_metric_ends_only_its_child_process(
    grader: Grader, answers: Path, code: str
) -> None:
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    crashing = grading_spec(answers, None, f"def grade(answers, submission):\n{lines}\n")

    with pytest.raises((TaskError, SubmissionError)):
        await grader.grade(submission(CONSTANT), crashing, BOTH)

    assert (await grader.grade(submission(CONSTANT), grading_spec(answers), BOTH)).public == 0.5


async def test_a_tasks_own_metric_gets_all_columns(grader: Grader, answers: Path) -> None:
    own_metric = grading_spec(
        answers,
        None,
        "def grade(answers, submission):\n"
        "    print('not a response')\n"
        "    assert list(answers) == list(submission) == ['id', 'y']\n"
        "    assert (answers.id.astype(int) == submission.id.astype(int)).all()\n"
        "    return (answers.y - submission.y).abs().mean()\n",
    )

    scores = await grader.grade(submission([0.25] * 100), own_metric, BOTH)

    assert scores.public == 0.5


async def test_concurrent_requests_are_graded_one_by_one(grader: Grader, answers: Path) -> None:
    values = [CONSTANT, [n % 2 for n in range(100)]] * 4

    found = await asyncio.gather(
        *(grader.grade(submission(v), grading_spec(answers), ("Public",)) for v in values)
    )

    assert [scores.public for scores in found] == [0.5, 1.0] * 4


async def test_the_grader_works_after_a_cancelled_grade(grader: Grader, answers: Path) -> None:
    slow = grading_spec(answers, None, "import time\ndef grade(a, s):\n    time.sleep(60)\n")
    grading = asyncio.create_task(grader.grade(submission(CONSTANT), slow, BOTH))
    await asyncio.sleep(2)
    grading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await grading

    scores = await grader.grade(submission(CONSTANT), grading_spec(answers), ("Public",))

    assert scores.public == 0.5
