"""Import, prepare and grade tasks of MLE-Dojo."""

import json
from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError, TaskError
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


def test_competitions_become_tasks_and_stubs_need_data(checkout: Path) -> None:
    remember_state(checkouts.mle_dojo(checkout))

    done = run_command("tasks", "import", "mle-dojo", checkout, "--json")
    rows = {row["task"]: row for row in done.rows}

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
        " SidewaysMetrics has no default for higher_is_better",
        f"2 of 3 tasks are in {checkout.parent}/cache/imported",
        "1 of them need data; for instructions, run for each:"
        " kernel-env tasks show mle-dojo-leftovers",
    ]
    shown = run_command("tasks", "show", "mle-dojo-leftovers").stdout.splitlines()
    assert shown[-1] == (
        "ready: needs its data; its prepare.py is an empty stub, because MLE-Dojo takes this data"
        " from DSBench: run MLE-Dojo's prepare/dsbench.py, or import again with --data FOLDER,"
        " where DSBench's data.zip was unpacked"
    )
    listed = run_command("tasks", "list", "--json").rows
    (cherry,) = [row for row in listed if row["task"] == "mle-dojo-cherrypicking"]
    assert cherry["summary"] == (
        "Cherry picking: which are ripe?: a Kaggle competition, prepared by MLE-Dojo."
    )
    assert (cherry["domain"], cherry["kind"]) == ("tabular", "binary classification")
    with pytest.raises(TaskError, match=r"needs its data, which is not here; its prepare\.py"):
        prepare(catalog.find("mle-dojo-leftovers"))


def test_the_competitions_code_prepares_and_grades(checkout: Path, grade: GradeTask) -> None:
    remember_state(checkouts.mle_dojo(checkout))
    import_tasks("mle-dojo", checkout, "CherryPicking")

    public = prepare(catalog.find("mle-dojo-cherrypicking")).public

    assert sorted(path.name for path in public.iterdir()) == [
        "description.md",
        "sample_submission.csv",
        "test.csv",
        "train.csv",
    ]
    assert (public.with_name("private").stat().st_mode & 0o777) == 0o700
    assert grade("mle-dojo-cherrypicking", submission(*TRUTH)).private == 1.0
    assert grade("mle-dojo-cherrypicking", submission(*TRUTH[:7], *WRONG[7:])).private == 0.7
    for data, message in (
        (b"id,y\n1,1\n", "1 rows are not 10."),
        (b"", "the submission is not a CSV table: No columns to parse from file"),
        (b"\xff\xfe\xff", "the submission is not a CSV table: 'utf-8' codec"),
        (
            submission(*TRUTH, columns=("number", "y")),
            "the grader failed on the submission: KeyError: 'id'. It accepts"
            " sample_submission.csv: use the same columns, rows and types",
        ),
    ):
        with pytest.raises(SubmissionError) as rejected:
            grade("mle-dojo-cherrypicking", data)
        assert str(rejected.value).startswith(message)


def test_a_broken_metric_or_missing_package_is_a_task_error(
    checkout: Path, grade: GradeTask
) -> None:
    metric = checkouts.mle_dojo(checkout) / "mledojo/competitions/CherryPicking/utils/metric.py"
    good = metric.read_text()
    metric.write_text(good.replace("return (true == predicted).mean()", "return true / nothing"))
    remember_state(checkout)
    import_tasks("mle-dojo", checkout, "CherryPicking")

    with pytest.raises(
        TaskError, match=r"own grader failed on the submission: NameError: name 'nothing'"
    ):
        grade("mle-dojo-cherrypicking", submission(*TRUTH))

    metric.write_text("import no_such_package\n" + good)
    remember_state(checkout)
    with pytest.raises(TaskError, match=r"No module named 'no_such_package'; pip install no_such"):
        grade("mle-dojo-cherrypicking", submission(*TRUTH))


def test_what_prepare_code_prints_instead_of_failing_is_told(checkout: Path) -> None:
    code = checkouts.mle_dojo(checkout) / "mledojo/competitions/CherryPicking/utils/prepare.py"
    printing = (
        'def prepare(raw, public, private):\n    print("Error:", list(raw.iterdir())[0].name)\n'
    )
    code.write_text(printing)
    remember_state(checkout)
    import_tasks("mle-dojo", checkout, "CherryPicking")

    with pytest.raises(TaskError) as failed:
        prepare(catalog.find("mle-dojo-cherrypicking"))

    assert str(failed.value).endswith(
        "failed: preparing left no private/test_answer.csv; the last line that it printed:"
        " Error: table.zip"
    )


def test_stubs_can_use_the_data_of_dsbench(
    checkout: Path, tmp_path: Path, grade: GradeTask
) -> None:
    remember_state(checkouts.mle_dojo(checkout))
    data = checkouts.dsbench_data(tmp_path / "dsbench")
    before = state(data)

    rows = import_tasks("mle-dojo", checkout, "leftovers", "--data", data)

    assert rows["mle-dojo-leftovers"]["readiness"] == "first use"
    assert grade("mle-dojo-leftovers", submission(*TRUTH)).public == 0
    assert grade("mle-dojo-leftovers", submission(*WRONG)).public == 1
    sample = prepare(catalog.find("mle-dojo-leftovers")).public / "sample_submission.csv"
    assert sample.read_bytes() == submission(*[1] * 10)
    assert state(data) == before


def test_data_prepared_by_mle_dojo_is_copied(
    checkout: Path, tmp_path: Path, grade: GradeTask
) -> None:
    data = checkouts.mle_dojo(checkout) / "data" / "prepared" / "CherryPicking" / "data"
    checkouts.write(data / "public" / "description.txt", "Theirs.")
    sample = submission(*[0] * 10).decode()
    checkouts.write(data / "public" / "sample_submission.csv", sample)
    checkouts.write(data / "private" / "test_answer.csv", submission(*WRONG).decode())
    remember_state(checkout)
    import_tasks("mle-dojo", checkout / "mledojo", "CherryPicking")

    assert grade("mle-dojo-cherrypicking", submission(*WRONG)).public == 1.0
    prepared = prepare(catalog.find("mle-dojo-cherrypicking"))
    assert (prepared.answers.stat().st_mode & 0o777) == 0o700


def mle_dojo_rank(score: float, boards: list[tuple[float, ...]]) -> float:
    """MLE-Dojo's own computation: the first row that the score equals or exceeds."""
    shares = []
    for board in boards:
        rows = sorted(board, reverse=True)
        position = next((n for n, row in enumerate(rows, 1) if score >= row), len(rows) + 1)
        shares.append((len(rows) - position + 1) / len(rows))
    return sum(shares) / len(shares)


def test_the_human_rank_is_the_mean_of_both_boards(checkout: Path, tmp_path: Path) -> None:
    remember_state(checkouts.mle_dojo(checkout))
    import_tasks("mle-dojo", checkout, "CherryPicking")
    predictions = [*TRUTH[:7], *WRONG[7:]]
    code = (
        "import os, pandas as pd\n"
        "sample = pd.read_csv(os.environ['DATA_PATH'] + '/sample_submission.csv')\n"
        f"sample.assign(y={predictions}).to_csv(os.environ['OUTPUT_PATH'], index=False)"
    )
    actions = [
        {"kind": "request_info", "info_type": "all"},
        {"kind": "execute_code", "code": code},
    ]
    checkouts.write(tmp_path / "actions.json", json.dumps(actions))

    run = ["run", "mle-dojo-cherrypicking", "--agent", "scripted", "--sandbox", "local"]
    run += ["--script", tmp_path / "actions.json", "--out", tmp_path / "runs"]
    done = run_command(*run, "--reward", "human_rank", "--json")

    record = json.loads(done.stdout)
    assert record["public_score"] == record["private_score"] == 0.7
    expected = mle_dojo_rank(0.7, [checkouts.PUBLIC_BOARD, checkouts.PRIVATE_BOARD])
    assert record["human_rank"] == record["total_reward"] == expected == (1 / 4 + 2 / 3) / 2
    assert record["position_private"] == 0
    notebook = Path(record["notebook"]).read_text()
    assert "**HumanRank** | 0.4583, as MLE-Dojo computes it" in notebook
    failed = run_command("report", "--format", "mle-bench", tmp_path / "runs", fails=True)
    assert "left out: mle-dojo-cherrypicking is a task of mle-dojo, not of MLE" in failed.stderr


def test_a_reference_leaderboard_has_no_human_rank(tiny: str, tmp_path: Path) -> None:
    run = ["run", tiny, "--agent", "scripted", "--reward", "human_rank", "--sandbox", "local"]
    checkouts.write(tmp_path / "actions.json", NO_OP_ACTIONS)

    done = run_command(*run, "--script", tmp_path / "actions.json", fails=True)

    assert done.stderr.splitlines()[-1] == (
        "error: the leaderboard of tiny has reference entries; human_rank needs a leaderboard of"
        " human teams, position works with any"
    )
