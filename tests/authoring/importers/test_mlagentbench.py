"""Import, prepare and grade tasks of MLAgentBench."""

from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError
from kernel_env.grading import host
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare
from support import checkouts
from support.checkouts import TRUTH, WRONG, submission
from support.importing import GradeTask, remember_state, run_command


def test_benchmarks_become_tasks_without_a_leaderboard(checkout: Path, grade: GradeTask) -> None:
    remember_state(checkouts.mlagentbench(checkout))

    done = run_command("tasks", "import", "mlagentbench", checkout, "--json")
    rows = {row["task"]: row for row in done.rows}

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
    assert "files read-only: ./train.csv, ./test.csv. Write" in task.description
    public = prepare(task).public
    assert sorted(path.name for path in public.iterdir()) == [
        "description.md",
        "helper.py",
        "test.csv",
        "train.csv",
    ]
    assert len((public / "train.csv").read_text().splitlines()) == 31
    assert grade("mlagentbench-fruit-price", submission(*WRONG)).public == 1.0
    with pytest.raises(
        SubmissionError, match=r"^the grader failed on the submission: KeyError: 'y'"
    ):
        grade("mlagentbench-fruit-price", submission(*TRUTH, columns=("id", "z")))


def test_without_answers_as_a_file_what_an_eval_cannot_read_is_rejected(
    checkout: Path, grade: GradeTask
) -> None:
    home = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks" / "fruit-price"
    for path in (home / "scripts" / "eval.py", home / "scripts" / "prepare.py"):
        path.write_text(path.read_text().replace("answer.csv", "hidden.csv"))
    remember_state(checkout)

    run_command("tasks", "import", "mlagentbench", checkout, "fruit-price")

    assert grade("mlagentbench-fruit-price", submission(*WRONG)).public == 1.0
    with pytest.raises(SubmissionError, match=r"KeyError: 'y'. Follow the description of the task"):
        grade("mlagentbench-fruit-price", submission(*TRUTH, columns=("id", "z")))


def test_a_slow_eval_without_a_known_submission_gets_the_full_time(
    checkout: Path, grade: GradeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "QUICK_SECONDS", 0.3)
    home = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks" / "fruit-price"
    path = home / "scripts" / "eval.py"
    path.write_text("import time\ntime.sleep(1)\n" + path.read_text())  # as an import of PyTorch
    remember_state(checkout)

    run_command("tasks", "import", "mlagentbench", checkout, "fruit-price")

    assert grade("mlagentbench-fruit-price", submission(*WRONG)).public == 1.0


EVAL_OF_A_DATA_SET = """
import os
import pandas as pd


def get_score(submission_folder="../env"):
    if not os.path.isfile("./data/truth.csv"):
        raise OSError("downloading")
    true = pd.read_csv("./data/truth.csv")
    predicted = pd.read_csv(os.path.join(submission_folder, "submission.csv"))
    return (true["y"] == predicted["y"]).mean()
"""


def test_an_eval_finds_the_data_set_that_its_prepare_left(checkout: Path, grade: GradeTask) -> None:
    scripts = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks" / "fruit-price"
    scripts = scripts / "scripts"
    checkouts.write(scripts / "eval.py", EVAL_OF_A_DATA_SET)
    checkouts.write(
        scripts / "prepare.py",
        'import os, pandas\nos.mkdir("../env/data")\nrows = pandas.read_csv("../env/train.csv")\n'
        'rows[30:].to_csv("../env/data/truth.csv")\n',
    )
    remember_state(checkout)

    run_command("tasks", "import", "mlagentbench", checkout, "fruit-price")

    assert grade("mlagentbench-fruit-price", submission(*TRUTH)).public == 1.0
    assert grade("mlagentbench-fruit-price", submission(*WRONG)).public == 0.0


@pytest.mark.parametrize("direct", [True, False])
def test_a_benchmark_that_imports_pytorch_has_an_environment_of_its_own(
    checkout: Path, direct: bool
) -> None:
    home = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks" / "fruit-price"
    path = home / ("scripts/eval.py" if direct else "env/helper.py")
    path.write_text("from torch import nn\n" + path.read_text())
    remember_state(checkout)

    run_command("tasks", "import", "mlagentbench", checkout, "fruit-price", "asking")

    environments = {}
    for name in ("fruit-price", "asking"):
        origin = catalog.find(f"mlagentbench-{name}").file.origin
        assert origin is not None
        environments[name] = origin.code_environment
    assert environments == {"fruit-price": "mlagentbench-torch", "asking": "mlagentbench"}
