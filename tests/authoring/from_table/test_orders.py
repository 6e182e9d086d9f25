"""Create tasks whose metric scores an order: of censored times, and of the rows of queries."""

import asyncio
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from kernel_env.audit.task.leaks import check_public_files
from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.authoring.from_table import design, make
from kernel_env.authoring.reference.leaderboard import run_reference_pipelines
from kernel_env.authoring.shrinking.folder import shrink
from kernel_env.errors import TaskError, UsageError
from kernel_env.grading.host import Grader
from kernel_env.tasks import Task, spec
from kernel_env.tasks.prepare import prepare

ROWS = 240


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    """A table of patients: the risk falls with x, and half of the times are censored."""
    random = np.random.RandomState(0)
    x = random.normal(size=ROWS)
    time, end = random.exponential(np.exp(2 * x) * 500), random.exponential(500, ROWS)
    return pd.DataFrame(
        {
            "x": x.round(4),
            "arm": random.choice(["a", "b"], ROWS),
            "days": np.minimum(time, end).round().astype(int),
            "died": (time <= end).astype(int),
        }
    ).astype(str)


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """A table of search results: eight for each query, x tells their relevance."""
    random = np.random.RandomState(0)
    x = random.normal(size=ROWS)
    relevance = (x + random.normal(size=ROWS) / 2).round().clip(0, 3).astype(int)
    query = [f"q{n // 8}" for n in range(ROWS)]
    return pd.DataFrame({"query": query, "x": x.round(4), "relevance": relevance}).astype(str)


def made(name: str, table: pd.DataFrame, into: Path, **choices: str) -> Task:
    """Create a task folder without running the reference pipelines."""
    chosen = design(name, Path(name), table, **choices)
    asyncio.run(make(chosen, table, into, with_pipelines=False))
    return spec.load(into / name)


async def failures(task: Task) -> list[str]:
    """Return the checks of a task's data that fail."""
    opened = open_folder(task.folder)
    assert opened.subject is not None, opened.findings
    async with Grader() as grader:
        found = [*opened.findings, *[f async for f in check_data(opened.subject, grader)]]
    return [finding.check for finding in found if finding.verdict == "failed"]


def run_solution(task: Task, monkeypatch: pytest.MonkeyPatch, output: Path) -> float:
    """Run the cells of a task's solution in this process; return what its validation gives."""
    cells = [
        cell.source
        for cell in nbformat.read(task.folder / "solution.ipynb", as_version=4).cells
        if cell.cell_type == "code"
    ]
    monkeypatch.setenv("DATA_PATH", str(prepare(task).public))
    monkeypatch.setenv("OUTPUT_PATH", str(output))
    names: dict[str, object] = {}
    for cell in cells[:-2]:
        exec(cell, names)
    *validation, last = cells[-2].replace("300, random_state", "20, random_state").splitlines()
    exec("\n".join(validation), names)
    found = eval(last, names)
    exec(cells[-1], names)
    return float(found)


def test_a_task_of_censored_times(
    patients: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = made("patients", patients, tmp_path, target="days", event="died")

    prepared = prepare(task)
    columns = {
        path.name: list(pd.read_csv(path, nrows=0))
        for path in (*prepared.public.glob("*.csv"), prepared.answers)
    }
    assert columns == {
        "train.csv": ["id", "x", "arm", "days", "died"],
        "test.csv": ["id", "x", "arm"],
        "sample_submission.csv": ["id", "days"],
        "answers.csv": ["id", "days", "died", "Usage"],
    }
    assert task.file.metric.name == "concordance"
    assert "168 rows with their `days` and `died` |" in task.description
    assert "a number that is larger the later the event is expected" in task.description
    assert asyncio.run(failures(task)) == []
    assert run_solution(task, monkeypatch, tmp_path / "out.csv") > 0.75
    found = asyncio.run(graded(task, (tmp_path / "out.csv").read_bytes()))
    assert found > 0.75


def test_a_task_of_queries(
    results: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = made(
        "results", results, tmp_path, target="relevance", metric="ndcg@3", split="group:query"
    )

    prepared = prepare(task)
    answers, train = pd.read_csv(prepared.answers), pd.read_csv(prepared.public / "train.csv")
    assert list(answers) == ["id", "relevance", "query", "Usage"]
    assert (answers.groupby("query")["Usage"].nunique() == 1).all()
    assert not {*answers["query"]} & {*train["query"]}
    assert "higher the row ranks among those of its `query`" in task.description
    assert asyncio.run(failures(task)) == []
    assert run_solution(task, monkeypatch, tmp_path / "out.csv") > 0.8
    with pytest.raises(TaskError, match="the rows of a query belong together"):
        asyncio.run(shrink(task, rows=100, into=tmp_path, with_pipelines=False))


async def graded(task: Task, data: bytes) -> float:
    """Return the private score of a submission."""
    from kernel_env.tasks.prepare import grading_spec

    async with Grader() as grader:
        scores = await grader.grade(data, grading_spec(task, prepare(task)), ("Private",))
    assert scores.private is not None
    return scores.private


async def test_the_pipelines_handle_events(patients: pd.DataFrame, tmp_path: Path) -> None:
    chosen = design("patients", Path("patients"), patients, target="days", event="died")
    await make(chosen, patients, tmp_path, with_pipelines=False)

    names = ("mean", "ridge", "ridge-residual", "linear-cox", "xgboost-cox")
    found = await run_reference_pipelines(spec.load(tmp_path / "patients"), only=names)

    scores = {each.entry: each.private_score for each in found.entries}
    assert found.left_out == {}
    assert scores.pop("mean") == 0.5
    assert min(scores.values()) > 0.7


def test_an_event_in_the_test_table_is_found(patients: pd.DataFrame, tmp_path: Path) -> None:
    task = made("patients", patients, tmp_path, target="days", event="died")
    program = task.folder / "prepare.py"
    program.write_text(program.read_text().replace("[*TARGETS, EVENT])", "TARGETS)"))

    opened = open_folder(task.folder)
    assert opened.subject is not None
    (finding,) = check_public_files(opened.subject)

    assert finding.verdict == "failed"
    assert "test.csv has the target 'died'" in finding.text


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"target": "days", "metric": "concordance"}, "--metric concordance needs --event"),
        ({"target": "days", "event": "dead"}, "--event: the table has no column 'dead'"),
        ({"target": "days", "event": "days"}, "'days' is the id or the target"),
        ({"target": "days", "event": "arm"}, "must be 1 where the event happened .* it has '[ab]'"),
        ({"target": "x", "event": "died"}, "one target of times, numbers of at least 0; 'x'"),
        ({"target": "arm", "event": "died"}, "one target of times"),
        ({"target": "days", "event": "died", "metric": "mae"}, "not for mae"),
        ({"target": "days", "metric": "ndcg@5"}, "give --split group:COLUMN"),
        ({"target": ["days", "died"], "metric": "ndcg@5"}, "'days' is one of several"),
    ],
)
def test_an_order_that_the_table_does_not_have_is_refused(
    patients: pd.DataFrame, choices: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        design("patients", Path("patients"), patients, **choices)
