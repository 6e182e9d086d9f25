"""A sound folder passes; a flaw is found by its check and by no other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.audit.task import duplicates, leaks
from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.audit.task.task_under_test import TaskUnderTest, load_tables
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare
from support.task_flaws import FLAWS, PICTURE_FEATURE, SPLIT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all."""
    async with Grader() as shared:
        yield shared


def prepared(folder: Path) -> TaskUnderTest:
    task = spec.load(folder)
    return load_tables(task, prepare(task))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def failures(folder: Path, grader: Grader) -> dict[str, str]:
    """The texts of the failed checks of the tables and the leaderboard, by check."""
    subject = prepared(folder)
    found = duplicates.check_ids(subject)
    if found[0].verdict == "ok":
        found += [finding async for finding in check_data(subject, grader)]
    return {finding.check: finding.text for finding in found if finding.verdict == "failed"}


async def test_a_sound_folder_passes_and_reports_checks_that_do_not_apply(
    tiny: str, grader: Grader
) -> None:
    opened = open_folder(Path(tiny))
    assert opened.subject is not None

    found = [*opened.findings, *[finding async for finding in check_data(opened.subject, grader)]]

    assert [(f.check, f.verdict, f.text) for f in found] == [
        ("schema", "ok", "every file is present and every field is valid"),
        (
            "publication",
            "not applicable",
            "a private task; before others use it, add solution.ipynb",
        ),
        ("prepare", "ok", "two runs wrote the same 5 files, equal to the cached ones"),
        ("ids", "ok", "60 ids, equal in test, sample and answers, none in train"),
        ("rows", "ok", "none of 60 test rows equals one of 140 training rows"),
        (
            "near-duplicate rows",
            "ok",
            "none after rounding fractions to 5 digits and text to its words",
        ),
        ("near-duplicate texts", "not applicable", "no column holds sentences"),
        ("files", "not applicable", "no column names public files"),
        ("near-duplicate pictures", "not applicable", "no column names public files"),
        ("public files", "ok", "no column of 3 public tables holds the answers"),
        (
            "leak columns",
            "ok",
            "none of 1 columns determines the target; the column 'x' removes 96 % of the best"
            " constant's error: look whether it is known before the answer is",
        ),
        ("leak pairs", "not applicable", "there are no two columns"),
        (
            "order of rows",
            "ok",
            "consecutive answers are no more similar than in a random order",
        ),
        (
            "ids as features",
            "ok",
            "row numbers and ids alone predict no better than chance",
        ),
        ("leaderboard", "ok", "4 reference entries"),
        (
            "sample submission",
            "ok",
            "valid; scores 3.0953 / 2.6387 and beats 25 % of 4 entries",
        ),
        (
            "constant answer",
            "ok",
            "the best constant, -0.005884, scores 3.094 / 2.6383 and beats 25 % of 4 entries",
        ),
        ("oracle", "ok", "scores 0 / 0; no entry of the leaderboard is better"),
    ]


async def test_a_leaderboard_with_only_the_constant_is_too_small(task_folder: Path) -> None:
    board = task_folder / "leaderboard.csv"
    lines = board.read_text().splitlines()
    board.write_text(f"{lines[0]}\n{lines[-1]}\n")

    subject = open_folder(task_folder).subject
    assert subject is not None
    async with Grader() as grader:
        (found,) = [f async for f in check_data(subject, grader) if f.check == "leaderboard"]

    assert (found.verdict, found.text) == (
        "not run",
        "1 reference entries, expected at least 4;"
        f" run: kernel-env tasks population {task_folder} --write",
    )


async def test_a_folder_that_does_not_load_is_a_finding(task_folder: Path) -> None:
    (task_folder / "task.toml").write_text("id = 'tiny'")

    (found,) = open_folder(task_folder).findings

    assert found.check == "schema"
    assert found.text == (
        f"{task_folder}/task.toml: the field metric is missing; the field submission is missing"
    )


async def test_data_that_differs_between_runs_is_found(task_folder: Path) -> None:
    change(task_folder / "prepare.py", "default_rng(0)", "default_rng()")

    found = open_folder(task_folder).findings[2]

    assert (found.check, found.verdict, found.text) == (
        "prepare",
        "failed",
        "private/answers.csv and 2 more differ between two runs of prepare, expected equal bytes;"
        " seed every random number generator and sort sets and folder listings",
    )


async def test_cached_data_that_was_changed_is_found(task_folder: Path) -> None:
    change(task_folder / "prepare.py", "default_rng(0)", "default_rng(11)")
    cached = prepare(spec.load(task_folder))
    change(cached.public / "test.csv", "140,", "140,-")

    (_, _, found) = open_folder(task_folder).findings[:3]

    assert found.verdict == "failed"
    assert found.text == (
        f"{cached.public}/test.csv was changed since it was prepared; remove {cached.public.parent}"
    )


async def test_a_time_series_without_timestamps_may_have_equal_rows(task_folder: Path) -> None:
    change(task_folder / "prepare.py", SPLIT, SPLIT + "    test.loc[0, 'x'] = train.x[5]\n")
    change(task_folder / "task.toml", 'domain = "tabular"', 'domain = "time series"')

    rows, near = duplicates.check_rows(prepared(task_folder))

    assert rows.verdict == near.verdict == "not applicable"
    assert rows.text == (
        "1 test rows equal a training row, which is possible in a time series without timestamps"
    )


async def test_rows_sorted_by_a_public_column_reveal_nothing(task_folder: Path) -> None:
    change(task_folder / "prepare.py", SPLIT, "    table = table.sort_values('x')\n" + SPLIT)

    order, ids = leaks.check_order(prepared(task_folder))

    assert order.verdict == "not applicable"
    assert order.text == "test.csv is sorted by 'x', which agents see"
    assert ids.verdict == "ok"  # the ids are not in that order


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_flaw_is_found_only_by_its_check(
    task_folder: Path, grader: Grader, flaw: str
) -> None:
    changes, expected = FLAWS[flaw]
    if any(PICTURE_FEATURE in new for _, _, new in changes):
        pytest.importorskip("PIL")
    for file, old, new in changes:
        change(task_folder / file, old, new)

    assert await failures(task_folder, grader) == expected
