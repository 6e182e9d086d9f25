import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_env.errors import TaskError, UnknownName
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.info import info
from kernel_env.tasks.prepare import is_prepared, prepare, prepared_folder

EMBEDDED = sorted(
    path.parent.name for path in (Path(__file__).parents[2] / "tasks").glob("*/task.toml")
)


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_task_is_sound_and_keeps_its_answers_to_itself(name: str) -> None:
    task = catalog.find(name)
    prepared = prepare(task)

    public = {path.name for path in prepared.public.iterdir()}
    assert public >= {"train.csv", "test.csv", "sample_submission.csv", "description.md"}
    header = (prepared.public / "test.csv").read_text().partition("\n")[0].split(",")
    assert not set(task.scoring.form.target_columns) & set(header)
    assert prepared.answers.parent.name == "private"
    assert prepared.answers.parent not in prepared.public.parents
    assert len(task.leaderboard.public) >= 20
    assert (task.folder / "NOTICE").stat().st_size > 200
    names = [cell["id"] for cell in json.loads(task.solution.read_text())["cells"]]
    assert len(set(names)) == len(names), "cells of solution.ipynb"


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_row_is_in_train_and_in_test(name: str) -> None:
    import pandas as pd

    task = catalog.find(name)
    prepared = prepare(task)
    train = pd.read_csv(prepared.public / "train.csv", dtype=str)
    test = pd.read_csv(prepared.public / "test.csv", dtype=str)
    answers = pd.read_csv(prepared.answers, dtype=str)

    features = [c for c in test.columns if c != "id"]
    if features:  # otherwise they are in a file beside
        assert train[features].merge(test[features].drop_duplicates(), on=features).empty
    assert not set(train["id"]) & set(test["id"])
    assert set(test["id"]) == set(answers["id"])
    assert set(answers["Usage"]) == {"Public", "Private"}
    assert 0.25 < (answers["Usage"] == "Public").mean() < 0.35


def test_preparing_twice_gives_the_same_bytes_and_costs_nothing_the_second_time(
    tasks: Path,
) -> None:
    task = spec.load(tasks)
    first = prepare(task)
    made = (first.public / "train.csv").stat()
    sums = (first.public.parent / "checksums.json").read_text()

    again = prepare(task)

    assert again == first
    assert (again.public / "train.csv").stat() == made
    (first.public.parent / "checksums.json").unlink()
    import shutil

    shutil.rmtree(first.public.parent)
    assert json.loads(sums) == json.loads(
        (prepare(task).public.parent / "checksums.json").read_text()
    )


def test_a_changed_task_is_prepared_anew(tasks: Path) -> None:
    before = prepare(spec.load(tasks))

    path = tasks / "prepare.py"
    path.write_text(path.read_text().replace("default_rng(0)", "default_rng(1)"))
    after = prepare(spec.load(tasks))

    assert after.public != before.public


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("task.toml", 'id = "tiny"', 'id = "huge"', "the field id is 'huge'"),
        ("task.toml", 'image = "base"', "", "the field image is wrong: field required"),
        ("task.toml", "limit_mb = 1", 'limit_mb = "much"', "submission.limit_mb is wrong"),
        ("task.toml", "limit_mb = 1", "limit_mb = -1", "submission.limit_mb is wrong"),
        (
            "task.toml",
            'name = "rmse"',
            'name = "luck"',
            "metric.name is wrong: no metric named 'luck'",
        ),
        ("task.toml", 'name = "rmse"', 'name = "grade.py"', "metric.higher_is_better is missing"),
        ("task.toml", "steps = 30", "stepz = 30", "limits.stepz is wrong: extra inputs"),
        ("task.toml", 'id_columns = ["id"]', "", "submission.id_columns is missing"),
        ("task.toml", 'target_columns = ["y"]', "", "submission.target_columns is missing"),
        ("task.toml", "[metric]", "[metric", "is not TOML"),
        ("leaderboard.csv", "0.11,0.11", "low,0.11", "public_score is 'low'"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(
    tasks: Path, file: str, old: str, new: str, complaint: str
) -> None:
    change(tasks / file, old, new)

    with pytest.raises(TaskError) as caught:
        spec.load(tasks)

    assert complaint in str(caught.value)
    assert str(tasks / file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["task.toml", "description.md", "prepare.py", "leaderboard.csv", "NOTICE"]
)
def test_a_missing_file_is_named(tasks: Path, file: str) -> None:
    (tasks / file).unlink()

    with pytest.raises(TaskError, match=f"{file} is missing"):
        spec.load(tasks)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
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
def test_a_prepare_function_that_fails_leaves_nothing(
    tasks: Path, old: str, new: str, complaint: str
) -> None:
    change(tasks / "prepare.py", old, new)
    task = spec.load(tasks)

    with pytest.raises(TaskError, match=complaint):
        prepare(task)

    assert not is_prepared(task)
    assert not list(prepared_folder(task).parent.glob(".tiny-*"))


def test_raw_data_that_was_changed_is_noticed(tasks: Path) -> None:
    (tasks / "data").mkdir(exist_ok=True)
    (tasks / "data" / "raw.csv").write_text("a\n")
    with (tasks / "task.toml").open("a") as file:
        file.write(f'\n[raw]\n"raw.csv" = "{"0" * 64}"\n')

    with pytest.raises(TaskError, match=r"task\.toml wants 0000"):
        prepare(spec.load(tasks))


def test_prepared_data_that_was_changed_is_noticed(tasks: Path) -> None:
    change(tasks / "prepare.py", "default_rng(0)", "default_rng(7)")
    prepared = prepare(spec.load(tasks))
    with (prepared.public / "train.csv").open("a") as file:
        file.write("more\n")

    with pytest.raises(TaskError, match="was changed since it was prepared"):
        prepare(spec.load(tasks))


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.find("nope")

    assert str(caught.value) == f"no task named 'nope'; known: {', '.join(EMBEDDED)}"


def test_all_information_is_in_all(tiny: str) -> None:
    task = catalog.find(tiny)
    public = prepare(task).public
    paths = Path("/data"), Path("/workspace/submission.csv")

    limits = {"steps": 7}

    everything = info(task, public, *paths, "all", limits)  # type: ignore[arg-type]

    for what in ("overview", "sample_submission", "data_structure", "output_path", "metadata"):
        assert info(task, public, *paths, what, limits) in everything  # type: ignore[arg-type]
    told = json.loads(info(task, public, *paths, "metadata", limits))  # type: ignore[arg-type]
    assert told["limits"]["steps"] == 7
    assert told["limits"]["cell_seconds"] == task.file.limits.cell_seconds


def test_the_wheel_works_outside_the_clone(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path, root], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--target",
            tmp_path / "site",
            wheel,
        ],
        check=True,
        capture_output=True,
    )

    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "from kernel_env.cli import main; main()",
            "tasks",
            "list",
            "--json",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line)["task"] for line in done.stdout.splitlines()] == EMBEDDED
    assert done.stderr == ""
    assert (tmp_path / "site" / "kernel_env" / "_images" / "base" / "Dockerfile").is_file()
