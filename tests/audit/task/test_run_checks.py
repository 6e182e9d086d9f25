"""A sound folder passes; each flaw is found by the check that is for it, and by no other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.audit.task import duplicates, leaks
from kernel_env.audit.task.run_checks import at_rest, open_folder
from kernel_env.audit.task.task_under_test import look
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPLIT = "    train, test = table[:140], table[140:].reset_index(drop=True)\n"
"""A line of the tiny task's prepare.py; a flaw is put before or behind it."""
Z = '    table["z"] = rng.normal(size=200).round(6)\n'
"""Another column, so that a row is more than one number."""
NOTES = """\
    words = [a + b for a in 'abcdefgh' for b in 'aeiou']
    table["note"] = [" ".join(rng.choice(words, 15)) for _ in range(200)]
"""
PICTURES = """\
    import os, shutil
    from PIL import Image
    table["file"] = [f"{n}.png" for n in range(200)]
    for file in table.file:
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(public / file)
    one, other = public / "5.png", public / "140.png"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all."""
    async with Grader() as shared:
        yield shared


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def failures(folder: Path, grader: Grader) -> dict[str, str]:
    """What is wrong with a folder at rest, by check."""
    task = spec.load(folder)
    case = look(task, prepare(task))
    found = duplicates.ids(case)
    if found[0].verdict == "ok":
        found += [finding async for finding in at_rest(case, grader)]
    return {finding.check: finding.text for finding in found if finding.verdict == "failed"}


async def test_a_sound_folder_passes_and_says_what_does_not_concern_it(
    tiny: str, grader: Grader
) -> None:
    opened = open_folder(Path(tiny))
    assert opened.case is not None

    found = [*opened.findings, *[finding async for finding in at_rest(opened.case, grader)]]

    assert [(f.check, f.verdict, f.text) for f in found] == [
        ("schema", "ok", "every file is there and every field is right"),
        ("prepare", "ok", "twice the same 5 files, and the cached copy has them"),
        ("ids", "ok", "60 ids, the same in test, sample and answers, none in train"),
        ("rows", "ok", "none of 60 test rows equals one of 140 in train"),
        ("near-duplicate rows", "ok", "none with fractions at 5 digits and text without marks"),
        ("near-duplicate texts", "not applicable", "no column is written in sentences"),
        ("files", "not applicable", "no column names public files"),
        ("near-duplicate pictures", "not applicable", "no column names public files"),
        ("public files", "ok", "no column of 3 public tables holds the answers"),
        ("leak columns", "ok", "none of 1 determines the target"),
        (
            "order of rows",
            "ok",
            "the answers stand in an order that tells no more than a random one",
        ),
        (
            "ids as features",
            "ok",
            "a tree and the nearest ids guess from row numbers and ids as chance does",
        ),
        ("leaderboard", "ok", "4 reference entries"),
        (
            "sample submission",
            "ok",
            "valid, and scores 3.0953 / 2.6387 and beats 25 % of 4 entries",
        ),
        (
            "constant answer",
            "ok",
            "the best, -0.005884, scores 3.094 / 2.6383 and beats 25 % of 4 entries",
        ),
        ("oracle", "ok", "scores 0 / 0; no entry of the board is better"),
    ]


async def test_a_board_of_the_constant_alone_is_not_called_sound(tasks: Path) -> None:
    board = tasks / "leaderboard.csv"
    lines = board.read_text().splitlines()
    board.write_text(f"{lines[0]}\n{lines[-1]}\n")

    (case,) = [open_folder(tasks).case]
    assert case is not None
    async with Grader() as grader:
        (found,) = [f async for f in at_rest(case, grader) if f.check == "leaderboard"]

    assert (found.verdict, found.text) == (
        "not run",
        "it has 1 of at least 4 reference entries, so a place on it says nothing; make it:"
        f" kernel-env tasks population {tasks} --write",
    )


async def test_a_folder_that_does_not_load_is_a_finding(tasks: Path) -> None:
    (tasks / "task.toml").write_text("id = 'tiny'")

    (found,) = open_folder(tasks).findings

    assert found.check == "schema"
    assert found.text == f"{tasks}/task.toml: the field name is wrong: field required"


async def test_data_that_comes_out_different_each_time_is_found(tasks: Path) -> None:
    change(tasks / "prepare.py", "default_rng(0)", "default_rng()")

    found = open_folder(tasks).findings[1]

    assert (found.check, found.verdict, found.text) == (
        "prepare",
        "failed",
        "prepared twice, private/answers.csv and 2 more came out different; the same raw files must"
        " give the same bytes: seed every random number, sort what a set or a folder lists",
    )


async def test_a_cached_copy_that_was_changed_is_found(tasks: Path) -> None:
    change(tasks / "prepare.py", "default_rng(0)", "default_rng(11)")
    prepared = prepare(spec.load(tasks))
    change(prepared.public / "test.csv", "140,", "140,-")

    (_, found) = open_folder(tasks).findings[:2]

    assert found.verdict == "failed"
    assert found.text == (
        f"{prepared.public}/test.csv was changed since it was prepared; remove {prepared.public.parent}"
    )


async def test_a_series_without_moments_may_repeat_itself(tasks: Path, grader: Grader) -> None:
    change(tasks / "prepare.py", SPLIT, SPLIT + "    test.loc[0, 'x'] = train.x[5]\n")
    change(tasks / "task.toml", 'domain = "tabular"', 'domain = "time series"')
    task = spec.load(tasks)

    rows, near = duplicates.rows(look(task, prepare(task)))

    assert rows.verdict == near.verdict == "not applicable"
    assert (
        rows.text == "1 test rows equal a training row, as rows of a series without its moment may"
    )


async def test_rows_in_the_order_of_a_column_that_agents_see_give_nothing_away(tasks: Path) -> None:
    change(tasks / "prepare.py", SPLIT, "    table = table.sort_values('x')\n" + SPLIT)
    task = spec.load(tasks)

    order, ids = leaks.order(look(task, prepare(task)))

    assert order.verdict == "not applicable"
    assert order.text == "test.csv is sorted by 'x', which agents see"
    assert ids.verdict == "ok"  # for these ids are not in that order


FLAWS = {
    "an id is in train and test": (
        [("prepare.py", SPLIT, SPLIT + "    test.loc[0, 'id'] = 7\n")],
        {
            "ids": "1 ids are in train.csv and in test.csv (for example '7'); a row belongs to one"
            " side: number the rows before the split"
        },
    ),
    "an id is unknown": (
        [("prepare.py", "test.assign(Usage=usage)", "test.assign(Usage=usage, id=test.id + 1)")],
        {
            "ids": "sample_submission.csv lacks 1 ids of answers.csv, has 1 that it does not know"
            " and 0 twice; they must be the same ids"
        },
    ),
    "a row is in train and test": (
        [("prepare.py", SPLIT, SPLIT + "    test.loc[0, 'x'] = train.x[5]\n")],
        {
            "rows": "1 of 60 test rows equal a training row in every feature (for example ids 140"
            " and 5); keep equal rows on one side of the split"
        },
    ),
    "rows are nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                Z + SPLIT + "    test.loc[:4, ['x', 'z']] = train.loc[:4, ['x', 'z']] + 1e-5\n",
            )
        ],
        {
            "near-duplicate rows": "5 of 60 test rows equal a training row once fractions are"
            " rounded to 3 digits and text to its words (for example ids 140 and 0); keep such rows"
            " on one side of the split"
        },
    ),
    "a text is nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                NOTES + SPLIT + "    test.loc[0, 'note'] = train.note[5].upper() + '!'\n",
            )
        ],
        {
            "near-duplicate texts": "1 of 60 test rows have a training row whose 'note' shares 80 %"
            " of their phrases of 3 words (for example ids 140 and 5); keep such texts on one side"
            " of the split"
        },
    ),
    "a file is in train and test": (
        [("prepare.py", SPLIT, PICTURES + SPLIT + "    shutil.copyfile(one, other)\n")],
        {
            "files": "1 of 60 test files in 'file' have the bytes of a training file (for example"
            " ids 140 and 5); keep equal files on one side"
        },
    ),
    "a picture is nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                PICTURES + SPLIT + "    Image.open(one).resize((64, 64), 0).save(other)\n",
            )
        ],
        {
            "near-duplicate pictures": "1 of 60 test pictures in 'file' look like a training"
            " picture at 16 × 16 pixels (for example ids 140 and 5); keep such pictures on one"
            " side"
        },
    ),
    "files are written in the order of the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                PICTURES
                + SPLIT
                + "    for n, row in test.sort_values('y').reset_index().iterrows():\n"
                "        os.utime(public / row.file, (n, n))\n",
            )
        ],
        {
            "order of rows": "in the times at which the files in 'file' were written, rows that"
            " follow each other have like answers for 'y': none of 9,999 random orders is as"
            " telling (p = 0.0001); shuffle the rows before they are numbered and written"
        },
    ),
    "test.csv has the target": (
        [("prepare.py", 'test.drop(columns="y")', "test")],
        {"public files": "test.csv has the target 'y'; leave it out of test.csv"},
    ),
    "another public file has the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                SPLIT + "    test[['id', 'y']].set_axis(['id', 'w'], axis=1)"
                ".to_csv(public / 'more.csv', index=False)\n",
            )
        ],
        {
            "public files": "the column 'w' of the public file more.csv holds the answers for 'y';"
            " leave it out"
        },
    ),
    "a column gives the target away": (
        [("prepare.py", SPLIT, "    table['w'] = 2 * table.y + 1\n" + SPLIT)],
        {
            "leak columns": "the column 'w' determines 'y': learned from train.csv, it takes away"
            " 100.0 % of the constant's error on the hidden answers (98 % is too much); leave it"
            " out"
        },
    ),
    "test rows are sorted by the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                SPLIT + "    test = test.sort_values('y', ignore_index=True)\n"
                "    test['id'] = rng.permutation(60) + 140\n",
            )
        ],
        {
            "order of rows": "in test.csv, rows that follow each other have like answers for 'y':"
            " none of 9,999 random orders is as telling (p = 0.0001); shuffle the rows before they"
            " are numbered and written"
        },
    ),
    "ids are dealt out by the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                "    table['id'] = 2 * rng.permutation(200) + (table.y > 0)\n" + SPLIT,
            )
        ],
        {
            "ids as features": "a tree, learned from row numbers and ids alone, guesses 'y' better"
            " than chance: none of 9,999 random orders of the answers agrees with it as well"
            " (p = 0.0001); shuffle the rows, then number them"
        },
    ),
    "the sample is no submission": (
        [("prepare.py", "test.assign(y=0.0)", "test.assign(y='?')")],
        {
            "sample submission": "it is refused: column 'y' has 60 values that are no finite number"
            " (for example '?'); this task wants numbers"
        },
    ),
    "the sample is a good model": (
        [("prepare.py", "test.assign(y=0.0)", "test.assign(y=3 * test.x)")],
        {
            "sample submission": "it scores 0.088008 / 0.093603 and beats 100 % of 4 entries; it"
            " must say nothing of the answers"
        },
    ),
    "a constant pleases the metric": (
        [
            ("prepare.py", "test.assign(y=0.0)", "test.assign(y=50.0)"),
            ("leaderboard.csv", "2.0,2.0", "9.0,9.0"),
            ("leaderboard.csv", "1.5,1.5", "9.0,9.0"),
        ],
        {
            "constant answer": "saying -0.005884 for every row scores 3.094 / 2.6383 and beats 75 %"
            " of 4 entries; at most 25 % is wanted: choose a metric that a constant cannot please,"
            " or make the board anew"
        },
    ),
    "the board is better than the answers": (
        [("leaderboard.csv", "0.11,0.11", "-0.11,-0.11")],
        {
            "oracle": "the answers themselves score 0 / 0 and are only number 2 of 4; look at the"
            " metric's direction, the answers and leaderboard.csv"
        },
    ),
}
"""What is changed in the tiny task, and what is then found."""


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_flaw_is_found_by_its_check_alone(tasks: Path, grader: Grader, flaw: str) -> None:
    changes, wanted = FLAWS[flaw]
    if any(PICTURES in new for _, _, new in changes):
        pytest.importorskip("PIL")
    for file, old, new in changes:
        change(tasks / file, old, new)

    assert await failures(tasks, grader) == wanted
