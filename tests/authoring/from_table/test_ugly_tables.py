"""Each ugly table becomes a sound task, or one line that says what to do."""

import asyncio
import gzip
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel_env.audit.task import duplicates
from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.audit.task.task_under_test import load_tables
from kernel_env.authoring import from_table
from kernel_env.authoring.from_table.folder import write
from kernel_env.authoring.from_table.table import read
from kernel_env.errors import UsageError
from kernel_env.grading import submission
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import Prepared, prepare

ROWS = 200
random = np.random.RandomState(11)
NUMBERS = random.permutation(ROWS)
BASE = pd.DataFrame(
    {
        "height": random.normal(size=ROWS).round(4),
        "count": random.randint(0, 90, ROWS),
        "colour": random.choice(["red", "green", "blue"], ROWS),
        "y": random.choice(["yes", "no"], ROWS),
    }
)


def csv(table: pd.DataFrame, **options: object) -> bytes:
    return table.to_csv(index=False, **options).encode()  # type: ignore[call-overload, no-any-return]


def labels(*names: str) -> np.ndarray:
    return np.resize(names, ROWS)[NUMBERS]


WIDE = pd.DataFrame(random.normal(size=(ROWS, 300)).round(3)).add_prefix("f")
DATES = ["2024-01-31", "31.01.2024", "Jan 31, 2024", "1/31/24"]
INFINITE = BASE.assign(height=BASE["height"].where(NUMBERS > 8, np.inf))
TASKS: dict[str, tuple[bytes, dict[str, str]]] = {
    "classes named like missing values": (
        csv(BASE.assign(y=labels("NA", "None", "null", "nan"))), {}
    ),
    "two classes, one of them NA": (csv(BASE.assign(y=labels("NA", "ok"))), {}),
    "numbers with NA in a feature": (
        csv(BASE.assign(height=np.where(NUMBERS % 9, BASE["height"].astype(str), "NA"))), {}
    ),
    "numbers with NA as target": (
        csv(BASE.assign(y=np.where(NUMBERS % 9, np.roll(BASE["height"], 1).astype(str), "NA"))), {}
    ),
    "classes with leading zeros": (csv(BASE.assign(y=labels("01", "1", "001"))), {}),
    "ids with leading zeros": (csv(BASE.assign(k=[f"{n:05}" for n in NUMBERS])), {"id_column": "k"}),
    "ids with trailing zeros": (
        csv(BASE.assign(k=[f"{n / 10:.2f}" for n in NUMBERS])), {"id_column": "k"}
    ),
    "ids with blanks": (csv(BASE.assign(k=[f" k {n} " for n in NUMBERS])), {"id_column": "k"}),
    "ids in quotes": (csv(BASE.assign(k=[f'"{n}",' for n in NUMBERS])), {"id_column": "k"}),
    "huge whole numbers": (csv(BASE.assign(k=[10**25 + int(n) for n in NUMBERS])), {"id_column": "k"}),
    "an empty column": (csv(BASE.assign(e="")), {}),
    "a single feature": (csv(BASE[["height", "y"]]), {}),
    "infinite cells": (csv(INFINITE), {}),
    "a different text in each row": (csv(BASE.assign(k=[f"u{n}" for n in NUMBERS])), {}),
    "mixed types": (csv(BASE.assign(m=labels("1", "two", "3.0", "", "True"))), {}),
    "unicode and a very long name": (
        csv(BASE.rename(columns={"height": "größe | 高さ `x`", "count": "c" * 5000})), {}
    ),
    "braces and quotes in names": (
        csv(BASE.rename(columns={"height": 'h"""{x}\\', "y": "y'{0}\\n"})), {"target": "y'{0}\\n"}
    ),
    "dates in several formats": (csv(BASE.assign(d=labels(*DATES))), {}),
    "truth values": (csv(BASE.assign(y=labels("True", "False"), b=np.roll(labels("TRUE", "false"), 1))), {}),
    "separators of thousands": (csv(BASE.assign(p=[f"{n + 1000:,}" for n in NUMBERS])), {}),
    "quotes and line breaks in cells": (
        csv(BASE.assign(t=[f'say "{n}",\nor\r\nnot\rso' for n in NUMBERS])), {}
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + csv(BASE), {}),
    "rows that are equal": (csv(pd.concat([BASE, BASE[:50]])), {}),
    "a target with missing values": (csv(BASE.assign(y=BASE["y"].where(NUMBERS > 30, ""))), {}),
    "300 columns": (csv(WIDE.assign(y=BASE["y"])), {}),
    "compressed": (gzip.compress(csv(BASE)), {}),
    "Windows line ends": (csv(BASE, lineterminator="\r\n"), {}),
    "column names like ours": (csv(BASE.rename(columns={"height": "id", "count": "row_id"})), {}),
}  # fmt: skip
"""Tables of which tasks are made, with arguments of `design`."""


def write_table(content: bytes, folder: Path) -> Path:
    path = folder / ("t.csv.gz" if content.startswith(b"\x1f\x8b") else "t.csv")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", TASKS)
def test_the_program_for_an_ugly_table_splits_it(tmp_path: Path, name: str) -> None:
    content, arguments = TASKS[name]
    path = write_table(content, tmp_path)
    cells = read(path)
    design = from_table.design("ugly", path, cells, **{"target": "y", **arguments})
    task = write(design, cells, tmp_path / "ugly")
    public, private = tmp_path / "public", tmp_path / "private"
    public.mkdir()
    private.mkdir()

    runpy.run_path(str(task.folder / "prepare.py"))["prepare"](task.raw, public, private)

    subject = load_tables(task, Prepared(public=public, answers=private / "answers.csv"))
    assert [f.text for f in duplicates.check_ids(subject) if f.verdict != "ok"] == []
    rows, _ = duplicates.check_rows(subject)
    assert rows.verdict != "failed", rows.text
    schema, ids = task.scoring.schema, subject.answers[subject.ids]
    for file in (public / "sample_submission.csv", private / "answers.csv"):
        table = subject.sample if file.parent == public else subject.answers
        given = submission.parse(table[schema.columns].to_csv(index=False).encode(), schema)
        assert len(submission.align(given, schema, ids)) == len(subject.answers)
    assert subject.train is not None
    assert len(subject.train) + len(subject.answers) == design.rows
    classes = {*subject.train[design.target], *subject.answers[design.target]}
    assert not design.classes or classes == set(design.classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_an_ugly_table_becomes_a_sound_task(tmp_path: Path, name: str) -> None:
    content, arguments = TASKS[name]
    path = write_table(content, tmp_path)
    cells = read(path)
    design = from_table.design("ugly", path, cells, **{"target": "y", **arguments})

    made = asyncio.run(from_table.make(design, cells, tmp_path / "tasks", with_pipelines=False))

    assert asyncio.run(failures(made.folder)) == []
    assert all("\n" not in remark for remark in design.remarks)


async def failures(folder: Path) -> list[str]:
    """Run the checks of a folder's files and data; return the failures."""
    opened = open_folder(folder)
    assert opened.subject is not None, opened.findings
    async with Grader() as grader:
        found = [*opened.findings, *[f async for f in check_data(opened.subject, grader)]]
    return [f"{one.check}: {one.text}" for one in found if one.verdict == "failed"]


NUMBERED = BASE.assign(y=NUMBERS)
LINES: dict[str, tuple[bytes, dict[str, str], str]] = {
    "semicolons": (
        csv(BASE, sep=";"), {}, "only one column found, 'height;count;colour;y'; it is separated by ';'"
    ),
    "tabs": (csv(BASE, sep="\t"), {}, "it is separated by a tab: write it with commas"),
    "two columns of one name": (
        csv(BASE).replace(b"count", b"height"), {}, "2 columns are named 'height'; rename them"
    ),
    "a nameless column": (BASE.to_csv().encode(), {}, "column 1 has no name; give it one, or remove"),
    "a line break in a name": (
        csv(BASE).replace(b"count", b'"co\nunt"'), {}, "'co\\nunt', contains line breaks or control"
    ),
    "Latin-1": (csv(BASE).replace(b"red", b"r\xe9d"), {}, "is not UTF-8 text; save it as UTF-8"),
    "UTF-16": (csv(BASE).decode().encode("utf-16"), {}, "is not UTF-8 text; save it as UTF-8"),
    "one class with one row": (
        csv(BASE.assign(y=np.where(NUMBERS, labels("a", "b", "c"), "d"))), {}, "the class 'd' has 1 rows"
    ),
    "a constant target": (csv(BASE.assign(y=3)), {}, "'y' is '3' in every row; there is no task"),
    "two rows": (csv(BASE[:2]), {}, "has 2 rows with a 'y'; a task needs at least 100"),
    "no rows": (csv(BASE[:0]), {}, "has 0 rows with a 'y'; a task needs at least 100"),
    "an empty file": (b"", {}, "is no table: No columns to parse from file"),
    "nothing but the target and the id": (
        csv(BASE.assign(k=NUMBERS)[["k", "y"]]), {"id_column": "k"}, "no column beside the target"
    ),
    "features with few values": (csv(BASE[["colour", "y"]]), {}, "only 3 of 200 rows differ in the"),
    "an infinite target": (csv(INFINITE), {"target": "height"}, "cells of 'height' are infinite; empty"),
    "a target of numbers with separators": (
        csv(BASE.assign(y=[f"{n + 1000:,}" for n in NUMBERS])), {}, "is none, write it like 1234.5"
    ),
    "ids that repeat": (csv(BASE), {"id_column": "count"}, "repeated values; an id must be unique"),
    "an archive that is cut off": (gzip.compress(csv(BASE))[:200], {}, "is no table: Compressed file"),
}  # fmt: skip
"""Tables of which no task is made, arguments of `design`, and a part of the error."""


@pytest.mark.parametrize("name", LINES)
def test_a_useless_table_gives_one_line(tmp_path: Path, name: str) -> None:
    content, arguments, message = LINES[name]
    path = write_table(content, tmp_path)

    with pytest.raises(UsageError) as caught:
        from_table.design("ugly", path, read(path), **{"target": "y", **arguments})

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def remarks(table: pd.DataFrame, **arguments: str) -> tuple[str, ...]:
    return from_table.design(
        "ugly", Path("t.csv"), table.astype(str), target="y", **arguments
    ).remarks


@pytest.mark.parametrize(
    ("column", "remark"),
    [
        ([f"u{n}" for n in NUMBERS], "'k' has a different value in each of 200 rows; if it names the"
         " rows, give --id k"),
        ([""] * ROWS, "'k' is always empty, so it is dropped"),
        ([f"{n + 1000:,}" for n in NUMBERS], "'k' is read as text, because of cells like '1,"),
    ],
)  # fmt: skip
def test_the_author_is_told_what_to_look_at(column: list[str], remark: str) -> None:
    (found,) = remarks(BASE.assign(k=column))

    assert found.startswith(remark)


def test_numbers_and_dates_that_differ_in_each_row_are_no_ids() -> None:
    days = pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d")[NUMBERS]

    assert remarks(BASE.assign(k=NUMBERS / 7)) == ()
    assert remarks(BASE.assign(k=days), split="random") == ()


def test_ids_are_read_as_text_in_the_solution_and_the_description(tmp_path: Path) -> None:
    content, arguments = TASKS["ids with leading zeros"]
    path = write_table(content, tmp_path)
    design = from_table.design("ugly", path, read(path), **{"target": "y", **arguments})
    made = asyncio.run(from_table.make(design, read(path), tmp_path / "t", with_pipelines=False))

    solution = (made.folder / "solution.ipynb").read_text()
    test = pd.read_csv(prepare(spec.load(made.folder)).public / "test.csv", dtype={"k": str})

    assert 'dtype={ID: str}, keep_default_na=False, na_values=[""])' in solution.replace('\\"', '"')
    description = (made.folder / "description.md").read_text()
    assert '`pd.read_csv(path, dtype={"k": str}, keep_default_na=False' in description
    assert set(test["k"].str.len()) == {5}
