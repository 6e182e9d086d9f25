"""Import, prepare and grade tasks of DSBench."""

from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError
from kernel_env.tasks import catalog
from support import checkouts
from support.checkouts import TRUTH, WRONG, submission
from support.importing import GradeTask, import_tasks, remember_state, run_command


def test_evaluation_programs_become_tasks_and_grade(
    checkout: Path, tmp_path: Path, grade: GradeTask
) -> None:
    remember_state(checkouts.dsbench(checkout))

    done = run_command("tasks", "import", "dsbench", checkout, "--json")
    (row,) = done.rows
    assert (row["higher_is_better"], row["readiness"]) == (False, "needs data")
    assert (row["leaderboard"], row["private_entries"]) == ("published", 2)
    assert done.stderr.splitlines()[0] == (
        "left out: nowhere: the metric's direction is unknown: save_performance lacks GT or baseline"
    )

    data = checkouts.dsbench_data(tmp_path / "dsbench")
    import_tasks("dsbench", checkout, "leftovers", "--data", data)

    assert catalog.find("dsbench-leftovers").description == "Predict y for the leftovers.\n"
    assert grade("dsbench-leftovers", submission(*TRUTH)).private == 0.0
    assert grade("dsbench-leftovers", submission(*WRONG[:1], *TRUTH[1:])).public == 0.1
    with pytest.raises(
        SubmissionError, match=r"^the grader failed on the submission: KeyError: 'y'"
    ):
        grade("dsbench-leftovers", submission(*TRUTH, columns=("id", "z")))
