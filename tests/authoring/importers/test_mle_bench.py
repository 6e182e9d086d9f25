"""Import, prepare, grade and report tasks of MLE-bench."""

import json
from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare
from support import checkouts
from support.checkouts import TRUTH, WRONG, state, submission
from support.importing import (
    NO_OP_ACTIONS,
    GradeTask,
    import_tasks,
    remember_state,
    run_command,
)


def write_raw_data(tmp_path: Path) -> Path:
    """Write raw data into MLE-bench's own cache; return the cache's folder."""
    raw = tmp_path / "user-cache" / "mle-bench" / "data" / "ripe-fruit" / "raw"
    checkouts.archive(raw / "table.zip")
    return raw.parents[1]


def test_competitions_become_tasks_and_lfs_pointers_are_skipped(
    checkout: Path, tmp_path: Path, grade: GradeTask
) -> None:
    remember_state(checkouts.mle_bench(checkout))
    data = write_raw_data(tmp_path)
    before = state(data)

    done = run_command("tasks", "import", "mle-bench", checkout, "--json")

    (row,) = done.rows
    assert (row["task"], row["metric"]) == ("mle-bench-ripe-fruit", "rmse")
    assert (row["higher_is_better"], row["private_entries"]) == (False, 20)
    assert done.stderr.splitlines()[0] == (
        "left out: far-fruit: leaderboard.csv is a Git LFS pointer, not the file itself; run"
        " `git lfs install` and `git lfs pull` in the checkout, then import again"
    )
    assert grade("mle-bench-ripe-fruit", submission(*[1 / 3] * 10)).public == 0.52705
    with pytest.raises(SubmissionError, match=r"^no column y$"):
        grade("mle-bench-ripe-fruit", submission(*TRUTH, columns=("id", "z")))
    with pytest.raises(
        SubmissionError, match=r"^the grader failed on the submission: AssertionError: other ids"
    ):
        grade("mle-bench-ripe-fruit", b"id,y\n1,1\n")
    assert state(data) == before


def test_data_prepared_by_mle_bench_is_copied(
    checkout: Path, tmp_path: Path, grade: GradeTask
) -> None:
    remember_state(checkouts.mle_bench(checkout))
    prepared = tmp_path / "data" / "ripe-fruit" / "prepared"
    checkouts.write(prepared / "private" / "test.csv", submission(*WRONG).decode())
    sample = submission(*[0.5] * 10).decode()
    checkouts.write(prepared / "public" / "sampleSubmission.csv", sample)

    import_tasks("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")

    assert grade("mle-bench-ripe-fruit", submission(*WRONG)).private == 0
    public = prepare(catalog.find("mle-bench-ripe-fruit")).public
    assert (public / "sample_submission.csv").read_text() == sample


def kept_notebook(run: Path) -> str:
    """Return the notebook of the only episode of a run."""
    (path,) = run.rglob("trajectory.ipynb")
    return path.read_text()


def test_the_file_that_is_left_is_reported_and_options_are_deviations(
    checkout: Path, tmp_path: Path
) -> None:
    remember_state(checkouts.mle_bench(checkout))
    write_raw_data(tmp_path)
    import_tasks("mle-bench", checkout, "ripe-fruit")
    left = {
        "last": [submission(*TRUTH), submission(*[abs(y - 0.1) for y in TRUTH])],
        "bad": [submission(*TRUTH), b"bad"],
        "none": [submission(*TRUTH), None],
    }
    for name, files in left.items():
        actions = [
            {"kind": "execute_code", "code": f"import os; path = os.environ['OUTPUT_PATH']\n{code}"}
            for data in files
            for code in (
                "os.remove(path)" if data is None else f"open(path, 'wb').write({data!r})",
            )
        ]
        checkouts.write(tmp_path / f"{name}.json", json.dumps(actions))
        run = ["run", "mle-bench-ripe-fruit", "--agent", "scripted", "--sandbox", "local"]
        run += ["--script", tmp_path / f"{name}.json", "--out", tmp_path / "runs" / name]
        run_command(*run, *(["--feedback", "public"] if name == "last" else []))

    report = json.loads(run_command("report", "--format", "mle-bench", tmp_path / "runs").stdout)

    bad, last, none = report["competition_reports"]
    assert last["score"] == 0.1
    assert last["submission_path"].endswith("step-0002.csv")
    for rejected, exists in ((bad, True), (none, False)):
        assert (rejected["score"], rejected["valid_submission"]) == (None, False)
        assert rejected["submission_exists"] == exists
        assert rejected["submission_path"] == ""
    assert "the agent saw scores (feedback public)" in last["protocol"]["deviations"]
    assert last["protocol"]["counts"] == bad["protocol"]["counts"] == "last"
    assert not any("scores" in each for each in bad["protocol"]["deviations"])


def test_runs_can_be_reported_in_mle_benchs_format(
    checkout: Path, tmp_path: Path, tiny: str
) -> None:
    remember_state(checkouts.mle_bench(checkout))
    write_raw_data(tmp_path)
    import_tasks("mle-bench", checkout, "ripe-fruit")
    code = (
        "import os\nopen(os.environ['OUTPUT_PATH'], 'w').write('''"
        + submission(*[abs(y - 0.1) for y in TRUTH]).decode()
        + "''')"
    )
    for name, actions in (
        ("good", json.dumps([{"kind": "execute_code", "code": code}])),
        ("idle", NO_OP_ACTIONS),
    ):
        checkouts.write(tmp_path / f"{name}.json", actions)
        run = ["run", "mle-bench-ripe-fruit", "--agent", "scripted", "--sandbox", "local"]
        run_command(*run, "--script", tmp_path / f"{name}.json", "--out", tmp_path / "runs" / name)

    for without_human_board in (tiny, "image-segment"):
        run = ["run", without_human_board, "--agent", "scripted", "--sandbox", "local"]
        others = tmp_path / "runs" / "others"
        run_command(*run, "--script", tmp_path / "idle.json", "--out", others)

    done = run_command("report", "--format", "mle-bench", tmp_path / "runs")
    failed = run_command("report", "--format", "mle-bench", others, fails=True)

    assert "left out: its task 'tiny' is unknown; set KERNEL_ENV_TASKS" in done.stderr
    assert "left out: image-segment has no leaderboard of human teams" in done.stderr
    assert "error: none of these 2 runs is of a task with a leaderboard of human" in failed.stderr
    report = json.loads(done.stdout)
    good, idle = report.pop("competition_reports")
    deviations = [
        "the time limit was 14,400 s, not 86,400 s",
        "at most 60 steps",
        "the sandbox local does not isolate the agent's code",
    ]
    assert report.pop("protocol") == {
        "name": "mle-bench, with deviations",
        "deviations": sorted(deviations),
    }
    rules = {"feedback": "validity", "counts": "last", "deviations": deviations}
    assert (good.pop("protocol"), idle.pop("protocol")) == (rules, rules)
    notebook = kept_notebook(tmp_path / "runs" / "good")
    assert "Submission accepted: it is well-formed." in notebook
    assert report == {
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
