"""Check the cache of prepared data, and prepare functions that fail."""

import json
import shutil
from pathlib import Path

import pytest

from kernel_env.errors import TaskError
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import is_prepared, prepare, prepared_folder
from support.files import replace_text


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a cache that no other test uses at the same time."""
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))


def test_preparing_again_uses_the_cache_and_is_deterministic(
    task_folder: Path,
) -> None:
    task = spec.load(task_folder)
    first = prepare(task)
    status = (first.public / "train.csv").stat()
    checksums = (first.public.parent / "checksums.json").read_text()

    again = prepare(task)

    assert again == first
    assert (again.public / "train.csv").stat() == status
    (first.public.parent / "checksums.json").unlink()
    shutil.rmtree(first.public.parent)
    assert json.loads(checksums) == json.loads(
        (prepare(task).public.parent / "checksums.json").read_text()
    )


def test_a_changed_task_is_prepared_again(task_folder: Path) -> None:
    before = prepare(spec.load(task_folder))

    path = task_folder / "prepare.py"
    path.write_text(path.read_text().replace("default_rng(0)", "default_rng(1)"))
    after = prepare(spec.load(task_folder))

    assert after.public != before.public


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "rng = np",
            "raise RuntimeError('no luck')\n    rng = np",
            "failed: RuntimeError: no luck",
        ),
        ('private / "answers.csv"', 'private / "other.csv"', "wrote no private/answers.csv"),
        ('[["id", "y"]]', '[["y", "id"]]', "sample_submission.csv with the columns"),
    ],
)
def test_a_failing_prepare_function_leaves_no_files(
    task_folder: Path, old: str, new: str, message: str
) -> None:
    replace_text(task_folder / "prepare.py", old, new)
    task = spec.load(task_folder)

    with pytest.raises(TaskError, match=message):
        prepare(task)

    assert not is_prepared(task)
    assert not list(prepared_folder(task).parent.glob(".tiny-*"))


def test_changed_raw_data_is_detected(task_folder: Path) -> None:
    (task_folder / "data").mkdir(exist_ok=True)
    (task_folder / "data" / "raw.csv").write_text("a\n")
    with (task_folder / "task.toml").open("a") as file:
        file.write(f'\n[raw]\n"raw.csv" = "{"0" * 64}"\n')

    with pytest.raises(TaskError, match=r"task\.toml expects 0000"):
        prepare(spec.load(task_folder))


def test_changed_prepared_data_is_detected(task_folder: Path) -> None:
    replace_text(task_folder / "prepare.py", "default_rng(0)", "default_rng(7)")
    prepared = prepare(spec.load(task_folder))
    with (prepared.public / "train.csv").open("a") as file:
        file.write("more\n")

    with pytest.raises(TaskError, match="was changed since it was prepared"):
        prepare(spec.load(task_folder))
