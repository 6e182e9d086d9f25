"""Check the cache of prepared data, and prepare functions that fail."""

import json
import shutil
from pathlib import Path

import pytest

from kernel_env.errors import TaskError
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import is_prepared, prepare, prepared_folder
from support.files import replace_text


def test_preparing_again_uses_the_cache_and_is_deterministic(
    tasks: Path,
) -> None:
    task = spec.load(tasks)
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


def test_a_changed_task_is_prepared_again(tasks: Path) -> None:
    before = prepare(spec.load(tasks))

    path = tasks / "prepare.py"
    path.write_text(path.read_text().replace("default_rng(0)", "default_rng(1)"))
    after = prepare(spec.load(tasks))

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
    tasks: Path, old: str, new: str, message: str
) -> None:
    replace_text(tasks / "prepare.py", old, new)
    task = spec.load(tasks)

    with pytest.raises(TaskError, match=message):
        prepare(task)

    assert not is_prepared(task)
    assert not list(prepared_folder(task).parent.glob(".tiny-*"))


def test_changed_raw_data_is_detected(tasks: Path) -> None:
    (tasks / "data").mkdir(exist_ok=True)
    (tasks / "data" / "raw.csv").write_text("a\n")
    with (tasks / "task.toml").open("a") as file:
        file.write(f'\n[raw]\n"raw.csv" = "{"0" * 64}"\n')

    with pytest.raises(TaskError, match=r"task\.toml expects 0000"):
        prepare(spec.load(tasks))


def test_changed_prepared_data_is_detected(tasks: Path) -> None:
    replace_text(tasks / "prepare.py", "default_rng(0)", "default_rng(7)")
    prepared = prepare(spec.load(tasks))
    with (prepared.public / "train.csv").open("a") as file:
        file.write("more\n")

    with pytest.raises(TaskError, match="was changed since it was prepared"):
        prepare(spec.load(tasks))
