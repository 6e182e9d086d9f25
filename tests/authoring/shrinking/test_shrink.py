"""Small variants of tasks are tasks."""

import json
from pathlib import Path

import pandas as pd
import pytest

from kernel_env import cache
from kernel_env.authoring.shrinking import agreement, shrink
from kernel_env.errors import TaskError
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.prepare import prepare
from kernel_env.tasks.task_file import ShrunkSection
from support.cli import error_line, run_cli


async def test_rows_keep_their_side_and_their_values(tiny: str, tmp_path: Path) -> None:
    large = prepare(spec.load(Path(tiny)))

    small = await shrink(spec.load(Path(tiny)), tmp_path, rows=50, with_pipelines=False)

    prepared = prepare(small.task)
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        all_, kept = (pd.read_csv(each.public / name) for each in (large, prepared))
        assert len(kept) == 50
        assert kept.merge(all_).equals(kept)
    answers = pd.read_csv(prepared.answers)
    assert answers.merge(pd.read_csv(large.answers)).equals(answers)
    assert list(answers.id) == list(pd.read_csv(prepared.public / "test.csv").id)
    assert set(answers.Usage) == {"Public", "Private"}


async def test_the_folder_is_a_task_that_names_the_large_one(tiny: str, tmp_path: Path) -> None:
    small = await shrink(
        spec.load(Path(tiny)), tmp_path, name="tinier", rows=30, test_rows=40, with_pipelines=False
    )

    assert small.task.id == "tinier"
    assert small.task.file.shrunk == ShrunkSection(of="tiny", rows=30, test_rows=40)
    assert small.task.file.limits == spec.load(Path(tiny)).file.limits
    assert "> **A small variant** of the task `tiny`: 30 of its 140" in small.task.description
    assert small.entries == 1
    assert small.why_no_pipelines == "--no-population was given"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tinier"]


async def test_files_that_kept_rows_name_are_copied_and_no_others(
    task_folder: Path, tmp_path: Path
) -> None:
    program = task_folder / "prepare.py"
    program.write_text(
        program.read_text()
        .replace("np.arange(200), ", "np.arange(200), 'file': [f'p/{n}.txt' for n in range(200)], ")
        .replace(
            "    train, test",
            "    (public / 'p').mkdir()\n"
            "    for n in range(200): (public / 'p' / f'{n}.txt').write_text(str(n))\n"
            "    (public / 'notes.txt').write_text('for all')\n"
            "    train, test",
        )
    )

    small = await shrink(
        spec.load(task_folder), tmp_path / "into", rows=20, test_rows=40, with_pipelines=False
    )

    public = prepare(small.task).public
    rows = pd.concat([pd.read_csv(public / name) for name in ("train.csv", "test.csv")])
    assert {f"p/{path.name}" for path in (public / "p").iterdir()} == set(rows.file)
    assert (public / "notes.txt").read_text() == "for all"


async def test_all_solutions_are_copied(task_folder: Path, tmp_path: Path) -> None:
    for name in ("solution.ipynb", "solution-torch.ipynb"):
        (task_folder / name).write_text(f'{{"cells": [], "for": "{name}"}}')

    small = await shrink(
        spec.load(task_folder), tmp_path / "into", rows=20, test_rows=40, with_pipelines=False
    )

    for name in ("solution.ipynb", "solution-torch.ipynb"):
        assert (small.task.folder / name).read_bytes() == (task_folder / name).read_bytes()


async def test_after_an_error_nothing_is_left(tiny: str, tmp_path: Path) -> None:
    before = set((cache.folder() / "tasks").glob("tiny*"))

    with pytest.raises(TaskError):
        await shrink(spec.load(Path(tiny)), tmp_path, rows=1000, with_pipelines=False)

    assert list(tmp_path.iterdir()) == []
    assert set((cache.folder() / "tasks").glob("tiny*")) == before


def test_the_command_writes_one_folder_and_never_over_another(tiny: str, tmp_path: Path) -> None:
    options = ("--rows", 60, "--no-population", "--into", tmp_path)
    done = run_cli("tasks", "shrink", tiny, *options, "--json")
    again = run_cli("tasks", "shrink", tiny, *options)

    found = json.loads(done.stdout)
    assert found == {
        "task": "tiny-60",
        "of": "tiny",
        "folder": str(tmp_path / "tiny-60"),
        "rows": 60,
        "test_rows": 60,
        "entries": 1,
        "agreement": None,
    }
    assert error_line(again).endswith("exists already; remove it, or choose another name")


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("task", ["ames-housing", "spam-email", "watch-exercise", "metro-traffic"])
async def test_the_small_leaderboard_orders_pipelines_as_the_large_one(
    task: str, tmp_path: Path
) -> None:
    small = await shrink(catalog.find(task), tmp_path, rows=200, test_rows=250)

    assert small.entries >= 20
    assert small.agreement is not None
    assert small.agreement > 0
    written = small.task.file.shrunk
    assert written is not None
    assert written.agreement == round(small.agreement, 3)


def test_agreement_is_spearmans_with_means_for_ties() -> None:
    large = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5, "other": 9.0}

    assert agreement(large, large) == pytest.approx(1)
    assert agreement(large, {name: -score for name, score in large.items()}) == pytest.approx(-1)
    ties = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0, "e": 3.0}
    assert agreement(large, ties) == pytest.approx(0.948683, abs=1e-6)
    assert agreement(large, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}) is None
    assert agreement(large, dict.fromkeys("abcde", 1.0)) is None
