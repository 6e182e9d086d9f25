"""Import, prepare and grade tasks of MLAgentBench."""

from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError
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
