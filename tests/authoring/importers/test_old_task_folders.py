"""Task folders that version 0.1 imported still prepare and grade."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare
from support import checkouts
from support.checkouts import TRUTH, WRONG, submission
from support.importing import GradeTask, import_tasks, remember_state

OLD_PREPARE = '''\
"""Made by `kernel-env tasks import {benchmark}`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import {module} as source

HOME = Path("{home}")
# The sha256 of its preparing code: {sha256}


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
'''
OLD_GRADE = '''\
"""Made by `kernel-env tasks import {benchmark}`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import {module} as source

HOME = Path("{home}")


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
'''


def mle_dojo(checkout: Path, tmp_path: Path) -> Path:
    home = checkouts.mle_dojo(checkout) / "mledojo" / "competitions" / "CherryPicking"
    import_tasks("mle-dojo", checkout, home.name)
    return home


def mle_bench(checkout: Path, tmp_path: Path) -> Path:
    home = checkouts.mle_bench(checkout) / "mlebench" / "competitions" / "ripe-fruit"
    data = tmp_path / "data"
    checkouts.archive(data / home.name / "raw" / "table.zip")
    import_tasks("mle-bench", checkout, home.name, "--data", data)
    return home


def dsbench(checkout: Path, tmp_path: Path) -> Path:
    home = checkouts.dsbench(checkout) / "data_modeling" / "evaluation" / "leftovers_eval.py"
    data = checkouts.dsbench_data(tmp_path / "data")
    import_tasks("dsbench", checkout, "leftovers", "--data", data)
    return home


def mlagentbench(checkout: Path, tmp_path: Path) -> Path:
    home = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks" / "fruit-price"
    import_tasks("mlagentbench", checkout, home.name)
    return home


@pytest.mark.parametrize(
    ("build", "name", "perfect_score"),
    [
        (mle_dojo, "mle-dojo-cherrypicking", 1.0),
        (mle_bench, "mle-bench-ripe-fruit", 0.0),
        (dsbench, "dsbench-leftovers", 0.0),
        (mlagentbench, "mlagentbench-fruit-price", 0.0),
    ],
)
def test_an_old_task_folder_prepares_and_grades(
    checkout: Path,
    tmp_path: Path,
    grade: GradeTask,
    build: Callable[[Path, Path], Path],
    name: str,
    perfect_score: float,
) -> None:
    home = build(checkout, tmp_path)
    remember_state(checkout)
    folder = catalog.find(name).folder
    benchmark = build.__name__.replace("_", "-")
    for file, template in (("prepare.py", OLD_PREPARE), ("grade.py", OLD_GRADE)):
        text = template.format(
            benchmark=benchmark, module=build.__name__, home=home, sha256="0" * 64
        )
        (folder / file).write_text(text)

    public = prepare(catalog.find(name)).public

    assert (public / "train.csv").is_file()
    assert grade(name, submission(*TRUTH)).private == perfect_score
    assert grade(name, submission(*WRONG)).private == 1.0 - perfect_score
