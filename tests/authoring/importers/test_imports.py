"""Other benchmarks' tasks through the command line: imported, listed, prepared, graded, reported."""

import asyncio
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel_env.cli import main
from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader, Scores
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import grading_spec, prepare
from support import checkouts
from support.checkouts import TRUTH, state, submission

BOTH = ("Public", "Private")
WRONG = [1 - y for y in TRUTH]
LOOK = '[{"kind": "request_info", "info_type": "name"}]'
"""The actions of an agent that does nothing."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for a checkout, which nothing may change once it is written; a cache of its own."""
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "theirs"))
    folder = tmp_path / "checkout"
    yield folder
    assert state(folder) == json.loads((tmp_path / "before.json").read_text())


def written(folder: Path) -> Path:
    """A checkout whose state is remembered."""
    folder.with_name("before.json").write_text(json.dumps(state(folder)))
    return folder


@dataclass
class Done:
    stdout: str
    stderr: str


def cli(*argv: object, fails: bool = False) -> Done:
    """The command line, entered where its script enters it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = sys.argv
    try:
        sys.argv = ["kernel-env", *map(str, argv)]
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    assert bool(code) == fails, err.getvalue()
    return Done(stdout=out.getvalue(), stderr=err.getvalue())


def imported(*argv: object) -> dict[str, dict[str, object]]:
    """What `tasks import` says of each task."""
    rows = map(json.loads, cli("tasks", "import", *argv, "--json").stdout.splitlines())
    return {row["task"]: row for row in rows}


Graded = Callable[[str, bytes], Scores]


@pytest.fixture(scope="module")
def graded() -> Iterator[Graded]:
    """Grades a submission of a task, in one grading process for all."""

    async def once(name: str, data: bytes) -> Scores:
        task = catalog.find(name)
        return await grader.grade(data, grading_spec(task, prepare(task)), BOTH)

    with asyncio.Runner() as runner:
        grader = runner.run(Grader().__aenter__())
        yield lambda name, data: runner.run(once(name, data))
        runner.run(grader.__aexit__(None, None, None))


# ── MLE-Dojo ──────────────────────────────────────────────────────────────────────────────


def test_mle_dojos_folders_become_tasks_and_stubs_say_so(checkout: Path) -> None:
    written(checkouts.mle_dojo(checkout))

    done = cli("tasks", "import", "mle-dojo", checkout, "--json")
    rows = {row["task"]: row for row in map(json.loads, done.stdout.splitlines())}

    assert rows["mle-dojo-cherrypicking"] | {"folder": ""} == {
        "task": "mle-dojo-cherrypicking",
        "metric": "CherryMetrics",
        "higher_is_better": True,
        "leaderboard": "human",
        "public_entries": 4,
        "private_entries": 3,
        "readiness": "first use",
        "todo": "",
        "folder": "",
    }
    assert not rows["mle-dojo-leftovers"]["higher_is_better"]
    assert rows["mle-dojo-leftovers"]["readiness"] == "needs data"
    assert done.stderr.splitlines() == [
        f"left out: sideways: {checkout}/mledojo/competitions/sideways/utils/metric.py:"
        " SidewaysMetrics does not say its higher_is_better",
        f"2 of 3 tasks are in {checkout.parent}/cache/imported",
        "1 of them need data; what to do for each, as for mle-dojo-leftovers:"
        " kernel-env tasks show mle-dojo-leftovers",
    ]
    shown = cli("tasks", "show", "mle-dojo-leftovers").stdout.splitlines()
    assert shown[-1] == (
        "ready: needs its data; its prepare.py is an empty stub, because MLE-Dojo takes this data"
        " from DSBench: run MLE-Dojo's prepare/dsbench.py, or import again with --data FOLDER,"
        " where DSBench's data.zip was unpacked"
    )
    listed = [json.loads(line) for line in cli("tasks", "list", "--json").stdout.splitlines()]
    (cherry,) = [row for row in listed if row["task"] == "mle-dojo-cherrypicking"]
    assert cherry["summary"] == (
        "Cherry picking: which are ripe?: a Kaggle competition, prepared by MLE-Dojo."
    )
    assert (cherry["domain"], cherry["kind"]) == ("tabular", "binary classification")
    with pytest.raises(TaskError, match=r"needs its data, which is not here; its prepare\.py"):
        prepare(catalog.find("mle-dojo-leftovers"))


def test_mle_dojos_code_prepares_and_grades_and_refuses(checkout: Path, graded: Graded) -> None:
    written(checkouts.mle_dojo(checkout))
    imported("mle-dojo", checkout, "CherryPicking")

    public = prepare(catalog.find("mle-dojo-cherrypicking")).public

    assert sorted(path.name for path in public.iterdir()) == [
        "description.md",
        "sample_submission.csv",
        "test.csv",
        "train.csv",
    ]
    assert (public.with_name("private").stat().st_mode & 0o777) == 0o700
    assert graded("mle-dojo-cherrypicking", submission(*TRUTH)) == Scores(public=1.0, private=1.0)
    assert graded("mle-dojo-cherrypicking", submission(*TRUTH[:7], *WRONG[7:])).private == 0.7
    for data, why in (
        (b"id,y\n1,1\n", "1 rows are not 10."),
        (b"", "the submission is not a CSV table: No columns to parse from file"),
        (b"\xff\xfe\xff", "the submission is not a CSV table: 'utf-8' codec"),
        (
            submission(*TRUTH, columns=("number", "y")),
            "the grader failed at it: KeyError: 'id'. It takes sample_submission.csv: give its"
            " columns, its rows and its types",
        ),
    ):
        with pytest.raises(SubmissionError) as refused:
            graded("mle-dojo-cherrypicking", data)
        assert str(refused.value).startswith(why)


def test_a_metric_of_mle_dojo_that_fails_is_the_tasks_and_a_package_that_is_missing_is_named(
    checkout: Path, graded: Graded
) -> None:
    metric = checkouts.mle_dojo(checkout) / "mledojo/competitions/CherryPicking/utils/metric.py"
    good = metric.read_text()
    metric.write_text(good.replace("return (true == said).mean()", "return true / nothing"))
    written(checkout)
    imported("mle-dojo", checkout, "CherryPicking")

    with pytest.raises(TaskError, match=r"own grader failed at it: NameError: name 'nothing'"):
        graded("mle-dojo-cherrypicking", submission(*TRUTH))

    metric.write_text("import no_such_package\n" + good)
    written(checkout)
    with pytest.raises(TaskError, match=r"No module named 'no_such_package'; pip install no_such"):
        graded("mle-dojo-cherrypicking", submission(*TRUTH))


def test_dsbenchs_data_serves_mle_dojos_stubs(
    checkout: Path, tmp_path: Path, graded: Graded
) -> None:
    written(checkouts.mle_dojo(checkout))
    data = checkouts.dsbench_data(tmp_path / "dsbench")
    before = state(data)

    rows = imported("mle-dojo", checkout, "leftovers", "--data", data)

    assert rows["mle-dojo-leftovers"]["readiness"] == "first use"
    assert graded("mle-dojo-leftovers", submission(*TRUTH)).public == 0
    assert graded("mle-dojo-leftovers", submission(*WRONG)).public == 1
    sample = prepare(catalog.find("mle-dojo-leftovers")).public / "sample_submission.csv"
    assert sample.read_bytes() == submission(*[1] * 10)
    assert state(data) == before


def test_what_mle_dojo_prepared_is_taken_as_it_is(
    checkout: Path, tmp_path: Path, graded: Graded
) -> None:
    data = checkouts.mle_dojo(checkout) / "data" / "prepared" / "CherryPicking" / "data"
    checkouts.write(data / "public" / "description.txt", "Theirs.")
    sample = submission(*[0] * 10).decode()
    checkouts.write(data / "public" / "sample_submission.csv", sample)
    checkouts.write(data / "private" / "test_answer.csv", submission(*WRONG).decode())
    written(checkout)
    imported("mle-dojo", checkout / "mledojo", "CherryPicking")

    assert graded("mle-dojo-cherrypicking", submission(*WRONG)).public == 1.0
    prepared = prepare(catalog.find("mle-dojo-cherrypicking"))
    assert (prepared.answers.stat().st_mode & 0o777) == 0o700


def mle_dojo_rank(score: float, boards: list[tuple[float, ...]]) -> float:
    """Its arithmetic, word for word: the first row that the score equals or beats."""
    shares = []
    for board in boards:
        rows = sorted(board, reverse=True)
        position = next((n for n, row in enumerate(rows, 1) if score >= row), len(rows) + 1)
        shares.append((len(rows) - position + 1) / len(rows))
    return sum(shares) / len(shares)


def test_an_episode_is_rewarded_with_the_human_rank_over_both_boards(
    checkout: Path, tmp_path: Path
) -> None:
    written(checkouts.mle_dojo(checkout))
    imported("mle-dojo", checkout, "CherryPicking")
    said = [*TRUTH[:7], *WRONG[7:]]
    code = (
        "import os, pandas as pd\n"
        "sample = pd.read_csv(os.environ['DATA_PATH'] + '/sample_submission.csv')\n"
        f"sample.assign(y={said}).to_csv(os.environ['OUTPUT_PATH'], index=False)"
    )
    actions = [
        {"kind": "request_info", "info_type": "all"},
        {"kind": "execute_code", "code": code},
    ]
    checkouts.write(tmp_path / "actions.json", json.dumps(actions))

    run = ["run", "mle-dojo-cherrypicking", "--agent", "scripted", "--sandbox", "local"]
    run += ["--script", tmp_path / "actions.json", "--out", tmp_path / "runs"]
    done = cli(*run, "--reward", "human_rank", "--json")

    record = json.loads(done.stdout)
    assert record["public_score"] == record["private_score"] == 0.7
    expected = mle_dojo_rank(0.7, [checkouts.PUBLIC_BOARD, checkouts.PRIVATE_BOARD])
    assert record["human_rank"] == record["total_reward"] == expected == (1 / 4 + 2 / 3) / 2
    assert record["position_private"] == 0
    notebook = Path(record["notebook"]).read_text()
    assert "Human rank, as MLE-Dojo computes it: 0.4583." in notebook


def test_a_board_of_pipelines_gives_no_human_rank(tiny: str, tmp_path: Path) -> None:
    run = ["run", tiny, "--agent", "scripted", "--reward", "human_rank", "--sandbox", "local"]
    checkouts.write(tmp_path / "actions.json", LOOK)

    done = cli(*run, "--script", tmp_path / "actions.json", fails=True)

    assert done.stderr.splitlines()[-1] == (
        "error: the leaderboard of tiny holds reference entries; human_rank is for boards of"
        " human teams, position for any"
    )


def test_importing_runs_nothing_of_a_checkout(checkout: Path, tmp_path: Path) -> None:
    makers = (checkouts.mle_dojo, checkouts.mle_bench, checkouts.dsbench, checkouts.mlagentbench)
    for maker in makers:
        maker(checkout / maker.__name__)
    for path in checkout.rglob("*.py"):
        path.write_text(f"raise RuntimeError('this ran')\n{path.read_text()}")
    written(checkout)

    for maker in makers:
        name = maker.__name__.replace("_", "-")
        assert imported(name, checkout / maker.__name__)


def test_what_is_no_checkout_is_said(tmp_path: Path) -> None:
    done = cli("tasks", "import", "mle-dojo", tmp_path, fails=True)

    assert done.stderr == (
        f"error: {tmp_path}: found no */utils/metric.py; wanted a checkout of MLE-Dojo"
        " (prepared data alone has no metrics: give its folder as --data)\n"
    )
    assert cli("tasks", "import", "kaggle", tmp_path, fails=True).stderr == (
        "error: no benchmark named 'kaggle'; known: dsbench, mlagentbench, mle-bench, mle-dojo\n"
    )


def test_a_task_of_ones_own_is_never_overwritten(checkout: Path, tmp_path: Path) -> None:
    written(checkouts.mle_dojo(checkout))
    own = checkouts.write(tmp_path / "mine" / "mle-dojo-cherrypicking" / "task.toml", "")

    command = ["tasks", "import", "mle-dojo", checkout, "CherryPicking", "--into", own.parents[1]]
    done = cli(*command, fails=True)

    assert done.stderr == (
        f"error: {own.parent} is there and was not imported; choose another --into\n"
    )
    shutil.rmtree(own.parent)
    assert cli(*command).stderr.splitlines()[-1] == (
        f"to have them found by name: export KERNEL_ENV_TASKS={own.parents[1]}"
    )
    cli(*command)  # again: what was imported is replaced


# ── MLE-bench ─────────────────────────────────────────────────────────────────────────────


def bench_data(tmp_path: Path) -> Path:
    """Where MLE-bench keeps its data unless told otherwise."""
    raw = tmp_path / "theirs" / "mle-bench" / "data" / "ripe-fruit" / "raw"
    checkouts.archive(raw / "table.zip")
    return raw.parents[1]


def test_mle_benchs_folders_become_tasks_and_pointers_say_so(
    checkout: Path, tmp_path: Path, graded: Graded
) -> None:
    written(checkouts.mle_bench(checkout))
    before = state(bench_data(tmp_path))

    done = cli("tasks", "import", "mle-bench", checkout, "--json")

    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["task"], row["metric"]) == ("mle-bench-ripe-fruit", "rmse")
    assert (row["higher_is_better"], row["private_entries"]) == (False, 20)
    assert done.stderr.splitlines()[0] == (
        "left out: far-fruit: leaderboard.csv is a Git LFS pointer, not the file itself; run"
        " `git lfs install` and `git lfs pull` in the checkout, then import again"
    )
    assert graded("mle-bench-ripe-fruit", submission(*[1 / 3] * 10)).public == 0.52705
    with pytest.raises(SubmissionError, match=r"^no column y$"):
        graded("mle-bench-ripe-fruit", submission(*TRUTH, columns=("id", "z")))
    with pytest.raises(
        SubmissionError, match=r"^the grader failed at it: AssertionError: other ids"
    ):
        graded("mle-bench-ripe-fruit", b"id,y\n1,1\n")
    assert state(tmp_path / "theirs" / "mle-bench" / "data") == before


def test_what_mle_bench_prepared_is_taken_as_it_is(
    checkout: Path, tmp_path: Path, graded: Graded
) -> None:
    written(checkouts.mle_bench(checkout))
    prepared = tmp_path / "data" / "ripe-fruit" / "prepared"
    checkouts.write(prepared / "private" / "test.csv", submission(*WRONG).decode())
    sample = submission(*[0.5] * 10).decode()
    checkouts.write(prepared / "public" / "sampleSubmission.csv", sample)

    imported("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")

    assert graded("mle-bench-ripe-fruit", submission(*WRONG)).private == 0
    public = prepare(catalog.find("mle-bench-ripe-fruit")).public
    assert (public / "sample_submission.csv").read_text() == sample


def test_runs_are_reported_as_mle_bench_does(checkout: Path, tmp_path: Path, tiny: str) -> None:
    written(checkouts.mle_bench(checkout))
    bench_data(tmp_path)
    imported("mle-bench", checkout, "ripe-fruit")
    code = (
        "import os\nopen(os.environ['OUTPUT_PATH'], 'w').write('''"
        + submission(*[abs(y - 0.1) for y in TRUTH]).decode()
        + "''')"
    )
    for name, actions in (
        ("good", json.dumps([{"kind": "execute_code", "code": code}])),
        ("idle", LOOK),
    ):
        checkouts.write(tmp_path / f"{name}.json", actions)
        run = ["run", "mle-bench-ripe-fruit", "--agent", "scripted", "--sandbox", "local"]
        cli(*run, "--script", tmp_path / f"{name}.json", "--out", tmp_path / "runs" / name)

    for of_no_humans in (tiny, "image-segment"):
        run = ["run", of_no_humans, "--agent", "scripted", "--sandbox", "local"]
        cli(*run, "--script", tmp_path / "idle.json", "--out", tmp_path / "runs" / "others")

    told = cli("report", "--format", "mle-bench", tmp_path / "runs")
    alone = cli("report", "--format", "mle-bench", tmp_path / "runs" / "others", fails=True)

    assert "left out: its task 'tiny' is not known here; the environment" in told.stderr
    assert "left out: image-segment has no leaderboard of human teams, and so no" in told.stderr
    assert "error: none of these 2 runs is of a task with a leaderboard of human" in alone.stderr
    said = json.loads(told.stdout)
    good, idle = said.pop("competition_reports")
    assert said == {
        "total_runs": 2,
        "total_runs_with_submissions": 1,
        "total_valid_submissions": 1,
        "total_medals": 1,
        "total_gold_medals": 1,
        "total_silver_medals": 0,
        "total_bronze_medals": 0,
        "total_above_median": 1,
    }
    (kept,) = (tmp_path / "runs" / "good").rglob("step-0001.csv")
    assert good.pop("submission_path") == str(kept)
    assert good.pop("created_at")
    assert good == {
        "competition_id": "ripe-fruit",
        "score": 0.1,
        "gold_threshold": 0.11,
        "silver_threshold": 0.13,
        "bronze_threshold": 0.17,
        "median_threshold": 0.195,
        "any_medal": True,
        "gold_medal": True,
        "silver_medal": False,
        "bronze_medal": False,
        "above_median": True,
        "submission_exists": True,
        "valid_submission": True,
        "is_lower_better": True,
    }
    assert (idle["score"], idle["submission_exists"], idle["submission_path"]) == (None, False, "")
    assert idle["gold_threshold"] == 0.11
    assert not idle["any_medal"]


# ── DSBench ───────────────────────────────────────────────────────────────────────────────


def test_dsbenchs_evaluations_run_as_programs(
    checkout: Path, tmp_path: Path, graded: Graded
) -> None:
    written(checkouts.dsbench(checkout))

    done = cli("tasks", "import", "dsbench", checkout, "--json")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["higher_is_better"], row["readiness"]) == (False, "needs data")
    assert (row["leaderboard"], row["private_entries"]) == ("published", 2)
    assert done.stderr.splitlines()[0] == (
        "left out: nowhere: nothing says whether more is better: save_performance lacks its GT"
        " and its baseline"
    )

    data = checkouts.dsbench_data(tmp_path / "dsbench")
    imported("dsbench", checkout, "leftovers", "--data", data)

    assert catalog.find("dsbench-leftovers").description == "Say y for the leftovers.\n"
    assert graded("dsbench-leftovers", submission(*TRUTH)) == Scores(public=0.0, private=0.0)
    assert graded("dsbench-leftovers", submission(*WRONG[:1], *TRUTH[1:])).public == 0.1
    with pytest.raises(SubmissionError, match=r"^the grader failed at it: KeyError: 'y'"):
        graded("dsbench-leftovers", submission(*TRUTH, columns=("id", "z")))


# ── MLAgentBench ──────────────────────────────────────────────────────────────────────────


def test_mlagentbenchs_folders_become_tasks_without_a_leaderboard(
    checkout: Path, graded: Graded
) -> None:
    written(checkouts.mlagentbench(checkout))

    done = cli("tasks", "import", "mlagentbench", checkout, "--json")
    rows = {row["task"]: row for row in map(json.loads, done.stdout.splitlines())}

    assert {name: (row["higher_is_better"], row["readiness"]) for name, row in rows.items()} == {
        "mlagentbench-fruit-price": (False, "first use"),
        "mlagentbench-asking": (True, "needs data"),
    }
    assert done.stderr.splitlines()[:2] == [
        "left out: free: it has no eval.py, and so no score",
        "left out: saving: its eval.py reads no submission.csv: it judges a model that the agent"
        " saves",
    ]
    task = catalog.find("mlagentbench-fruit-price")
    assert "to be changed: ./train.csv, ./test.csv. Leave" in task.description
    public = prepare(task).public
    assert sorted(path.name for path in public.iterdir()) == [
        "description.md",
        "helper.py",
        "test.csv",
        "train.csv",
    ]
    assert len((public / "train.csv").read_text().splitlines()) == 31
    assert graded("mlagentbench-fruit-price", submission(*WRONG)).public == 1.0
    with pytest.raises(SubmissionError, match=r"^the grader failed at it: KeyError: 'y'"):
        graded("mlagentbench-fruit-price", submission(*TRUTH, columns=("id", "z")))
