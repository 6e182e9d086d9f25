"""The code of other benchmarks runs with the libraries that it was written for."""

import shutil
import sys
from pathlib import Path

import pytest

from kernel_env.errors import DownloadError, TaskError
from kernel_env.tasks import catalog, environments
from kernel_env.tasks.prepare import prepare, prepared_folder
from support import checkouts
from support.checkouts import TRUTH, WRONG, submission
from support.importing import GradeTask, import_tasks, remember_state, run_command

OLD_CODE = """
import numpy as np
import pandas as pd


def grade(submission: pd.DataFrame, answers: pd.DataFrame) -> float:
    if not hasattr(np, "trapz") or not hasattr(pd.DataFrame, "applymap"):
        raise AttributeError("this grader needs older libraries")
    return float(np.trapz(abs(submission["y"] - answers["y"])))
"""


def import_old_grader(checkout: Path, tmp_path: Path, code: str = OLD_CODE) -> None:
    home = checkouts.mle_bench(checkout) / "mlebench" / "competitions" / "ripe-fruit"
    checkouts.write(home / "grade.py", code)
    checkouts.archive(tmp_path / "data" / "ripe-fruit" / "raw" / "table.zip")
    remember_state(checkout)
    import_tasks("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")


@pytest.fixture(scope="module")
def made_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of an environment; skips where neither uv nor wheels are at hand."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNEL_ENV_CACHE", str(cache))
        try:
            environments.make("mle-bench")
        except DownloadError as error:
            pytest.skip(f"needs uv and a network, or wheels: {error}")
    return cache / "environments"


@pytest.mark.slow
def test_an_old_grader_grades_with_its_own_libraries(
    checkout: Path, tmp_path: Path, grade: GradeTask, made_environment: Path
) -> None:
    import_old_grader(checkout, tmp_path)
    task = catalog.find("mle-bench-ripe-fruit")
    with pytest.raises(TaskError, match="needs older libraries"):
        grade(task.id, submission(*TRUTH))
    before = prepared_folder(task)

    (tmp_path / "cache" / "environments").symlink_to(made_environment)

    assert grade(task.id, submission(*TRUTH)).private == 0
    assert grade(task.id, submission(*WRONG)).private == 9
    assert prepared_folder(task) != before
    assert prepare(task).public.is_dir()


def test_a_grader_that_cannot_work_is_found_when_the_task_is_prepared(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "LOCKS", tmp_path)  # our own libraries, without uv
    import_old_grader(checkout, tmp_path, "import no_such_package\n" + OLD_CODE)

    done = run_command("tasks", "prepare", "mle-bench-ripe-fruit", fails=True)

    assert done.stderr.splitlines()[-1].startswith(
        "error: mle-bench-ripe-fruit is prepared, but cannot be graded: "
    )
    assert "No module named 'no_such_package'; pip install no_such_package" in done.stderr


def test_without_uv_and_a_fitting_python_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(environments, "PYTHON", "3.0")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")

    with pytest.raises(DownloadError) as caught:
        environments.make("mle-dojo")

    assert str(caught.value) == (
        "the code of mle-dojo needs Python 3.0, and this is another one; install uv, which gets it"
        " (pip install uv)"
    )
    assert list((tmp_path / "environments").iterdir()) == []


def test_a_package_that_cannot_be_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environments.uv_command() is None and not shutil.which("uv"):
        pytest.skip("needs uv")
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path))
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    (tmp_path / "some.lock").write_text("no-such-package-of-kernel-env==1\n")

    with pytest.raises(DownloadError, match="the environment of some cannot be made: ") as caught:
        environments.make("some")

    assert "\n" not in str(caught.value)
    assert list((tmp_path / "environments").iterdir()) == []


def test_a_benchmark_without_a_lock_file_uses_our_libraries() -> None:
    assert environments.make("no-benchmark") is None
