"""Check the grading process: scores, rejections, and metrics that fail or crash."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest
import pytest_asyncio
from sklearn.metrics import roc_auc_score

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader, GradingSpec
from support.schemas import schema

BOTH = ("Public", "Private")
CONSTANT = [0.5] * 100
"""Predictions with a ROC AUC of 0.5."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
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


async def test_scikit_learn_is_imported_only_for_a_metric_that_needs_it(answers: Path) -> None:
    imported = []
    async with Grader() as own:
        for name in ("rmse", "roc_auc"):
            await own.grade(submission(CONSTANT), grading_spec(answers, name), BOTH)
            assert own._process is not None
            maps = Path(f"/proc/{own._process.pid}/maps").read_text()
            imported.append("/sklearn/" in maps)

    assert imported == [False, True]


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


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("np.float32(0.25)", 0.25),
        ("np.float64(0.25)", 0.25),
        ("np.float16(0.25)", 0.25),
        ("np.longdouble(0.25)", 0.25),
        ("np.int64(2)", 2.0),
        ("np.uint8(2)", 2.0),
        ("np.array(0.25)", 0.25),
        ("fractions.Fraction(1, 4)", 0.25),
        ("2", 2.0),
    ],
)
async def test_a_tasks_own_metric_can_give_any_kind_of_number(
    grader: Grader, answers: Path, value: str, score: float
) -> None:
    code = f"import fractions, numpy as np\ndef grade(answers, submission):\n    return {value}\n"

    scores = await grader.grade(submission(CONSTANT), grading_spec(answers, None, code), BOTH)

    assert scores.public == scores.private == score


@pytest.mark.parametrize(
    "value",
    ["True", "np.True_", "None", "float('nan')", "np.nan", "'0.5'", "np.array([0.5])", "10**400"],
)
async def test_a_metric_that_gives_no_finite_number_is_a_task_error(
    grader: Grader, answers: Path, value: str
) -> None:
    code = f"import numpy as np\ndef grade(answers, submission):\n    return {value}\n"

    with pytest.raises(TaskError, match=r"the metric gave .*; it must give a finite number"):
        await grader.grade(submission(CONSTANT), grading_spec(answers, None, code), BOTH)


async def test_a_long_reason_is_cut(grader: Grader, answers: Path) -> None:
    code = (
        "from kernel_env.errors import SubmissionError\n"
        "def grade(answers, submission):\n    raise SubmissionError('no ' * 1_000_000)\n"
    )

    with pytest.raises(SubmissionError, match=r"^no no .*…$") as caught:
        await grader.grade(submission(CONSTANT), grading_spec(answers, None, code), BOTH)

    assert len(str(caught.value)) <= 2001


FAILS_ON_HALF = """
def grade(answers, submission):
    if (submission.y == 0.25).any():
        {failure}
    return abs(answers.y - submission.y).mean()
"""


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("raise KeyError(answers.y.iloc[0])", "the metric failed on these predictions (KeyError)"),
        ("raise SystemExit(answers.y.iloc[0])", "failed on these predictions (SystemExit)"),
        ("return float('nan')", "the metric of these predictions is nan"),
        ("return None", "the metric gives no number for these predictions"),
        ("import os; os._exit(0)", "the metric failed on these predictions"),
        ("return bytes(1 << 40)", "grading it exceeds the memory limit"),
    ],
)
@pytest.mark.parametrize("row", [0, 99])
async def test_numbers_that_the_metric_cannot_score_are_not_the_tasks_fault(
    grader: Grader, answers: Path, failure: str, reason: str, row: int
) -> None:
    own = grading_spec(answers, None, FAILS_ON_HALF.format(failure=failure))
    values = [0.25 if n == row else 0.5 for n in range(100)]

    with pytest.raises(SubmissionError) as caught:
        await grader.grade(submission(values), own, BOTH)

    assert reason in str(caught.value)
    assert "sample_submission.csv" in str(caught.value)
    assert (await grader.grade(submission(CONSTANT), own, BOTH)).public == 0.5


async def test_a_reason_never_says_what_the_metric_saw_in_the_private_half(
    grader: Grader, answers: Path
) -> None:
    rejects = "from kernel_env.errors import SubmissionError; raise SubmissionError('y is 1')"
    own = grading_spec(answers, None, FAILS_ON_HALF.format(failure=rejects))

    for row, reason in ((0, "^y is 1$"), (99, "rejects some of these .* hidden answers$")):
        values = [0.25 if n == row else 0.5 for n in range(100)]
        with pytest.raises(SubmissionError, match=reason):
            await grader.grade(submission(values), own, BOTH)


@pytest.mark.parametrize("row", [0, 99])
async def test_a_number_too_large_for_the_metric_is_rejected_in_either_half(
    grader: Grader, answers: Path, row: int
) -> None:
    values = [1e200 if n == row else 0.5 for n in range(100)]

    with pytest.raises(SubmissionError, match="rmse of these predictions is inf"):
        await grader.grade(submission(values), grading_spec(answers, "rmse"), BOTH)


async def test_the_order_of_rows_and_the_notation_of_numbers_do_not_change_the_content(
    grader: Grader, answers: Path
) -> None:
    table = pd.DataFrame({"id": range(100), "y": [n / 100 for n in range(100)]})
    forms = [
        table.to_csv(index=False),
        table[::-1].to_csv(index=False),
        table[["y", "id"]].to_csv(index=False),
        table.to_csv(index=False, float_format="%.8e"),
    ]

    found = [await grader.grade(f.encode(), grading_spec(answers), BOTH) for f in forms]
    other = await grader.grade(submission(CONSTANT), grading_spec(answers), BOTH)

    assert len({scores.content for scores in found}) == 1
    assert other.content != found[0].content


async def test_the_resolution_is_the_standard_error_of_a_mean_difference(
    grader: Grader, tmp_path: Path
) -> None:
    table = pd.DataFrame({"id": range(30), "y": [n % 2 for n in range(30)], "Usage": "Public"})
    table.to_csv(tmp_path / "answers.csv", index=False)
    spec = GradingSpec(
        answers=tmp_path / "answers.csv", schema=schema(targets=("y",)), metric="mae"
    )
    one, other = ([(n * k % 7) / 7 for n in range(30)] for k in (3, 5))
    data, rival = (
        pd.DataFrame({"id": range(30), "y": side}).to_csv(index=False).encode()
        for side in (one, other)
    )

    scores = await grader.grade(data, spec, ("Public",), rival=rival)

    losses = [abs(table.y - side) for side in (one, other)]
    assert scores.resolution == pytest.approx((losses[0] - losses[1]).std() / 30**0.5)


LABELS = {
    "numbers": (["1", "2", "10"], ["1.0", " 2.00", "1e1"], 1.0, ""),
    "truth with a point": (["1.0", "2.0", "10.0"], ["1", "2", "10"], 1.0, ""),
    "not all classes are numbers": (
        ["1", "2", "x"],
        ["1.0", "2", "x"],
        2 / 3,
        "10 of 30 labels .*'1.0'",
    ),
    "two forms of one number": (["1", "01", "2"], ["1", "1.0", "2"], 2 / 3, "10 of 30 .*'1.0'"),
    "another case": (["True", "False", "True"], ["TRUE", "False", "True"], 2 / 3, "'TRUE'"),
    "unknown": (
        ["a", "b", "c"],
        ["a", "b", "x\ny" + "z" * 99],
        2 / 3,
        "10 of 30 .*'x\\\\nyz{37}…'$",
    ),
    "known": (["a", "b", "c"], ["a", "c", "c"], 2 / 3, ""),
}


@pytest.mark.parametrize("case", LABELS)
async def test_labels_in_another_form_are_understood_or_named(
    grader: Grader, tmp_path: Path, case: str
) -> None:
    truth, said, expected, note = LABELS[case]
    answers = pd.DataFrame({"id": range(30), "y": truth * 10, "Usage": "Public"})
    answers.to_csv(tmp_path / "answers.csv", index=False)
    spec = GradingSpec(
        answers=tmp_path / "answers.csv", schema=schema("label", targets=("y",)), metric="accuracy"
    )
    data = pd.DataFrame({"id": range(30), "y": said * 10}).to_csv(index=False).encode()

    scores = await grader.grade(data, spec, ("Public",))

    assert scores.public == pytest.approx(expected)
    assert re.search(note, scores.note) if note else scores.note == ""
