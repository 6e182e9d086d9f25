"""Known leaks in the data of imported tasks are found; sound data passes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel_env.audit.task.run_checks import open_folder
from kernel_env.tasks import catalog
from support import checkouts
from support.importing import import_tasks

Tables = dict[str, pd.DataFrame]


def sound_tables() -> Tables:
    random = np.random.RandomState(5)
    rows = pd.DataFrame({"id": random.permutation(300), "x": random.normal(size=300).round(6)})
    rows["y"] = (rows["x"] + random.normal(size=300) > 0).astype(int)
    train, test = rows[:200], rows[200:].reset_index(drop=True)
    return {
        "public/train.csv": train,
        "public/test.csv": test[["id", "x"]],
        "public/sampleSubmission.csv": test[["id"]].assign(y=0.5),
        "private/test.csv": test[["id", "y"]],
    }


def copy_answers(tables: Tables) -> None:
    tables["public/extra/old.csv"] = tables["private/test.csv"]


def submit_answers(tables: Tables) -> None:
    tables["public/sampleSubmission.csv"] = tables["private/test.csv"].iloc[::-1]


def hide_answers_in_a_column(tables: Tables) -> None:
    answers = tables["private/test.csv"]
    tables["public/more.csv"] = answers.assign(w=answers["y"])[["id", "w"]]


def sort_by_the_answers(tables: Tables) -> None:
    order = tables["private/test.csv"]["y"].argsort(kind="stable")
    for name in list(tables)[1:]:
        tables[name] = tables[name].iloc[order]


def repeat_rows(tables: Tables) -> None:
    tables["public/test.csv"].loc[0, "x"] = tables["public/train.csv"]["x"].iloc[0]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda tables: None, {}),
        (
            copy_answers,
            {
                "private files": "the public file extra/old.csv is the private file test.csv; remove"
                " it, or write values that do not depend on the answers",
                "public files": "column 'y' of the public file extra/old.csv holds the answers for"
                " 'y'; remove that column",
            },
        ),
        (
            submit_answers,
            {
                "sample submission": "the column 'y' of sample_submission.csv holds the answers;"
                " write values that do not depend on them",
                "public files": "column 'y' of the public file sampleSubmission.csv holds the"
                " answers for 'y'; remove that column",
            },
        ),
        (
            hide_answers_in_a_column,
            {
                "public files": "column 'w' of the public file more.csv holds the answers for 'y';"
                " remove that column"
            },
        ),
        (
            sort_by_the_answers,
            {
                "order of rows": "in test.csv, consecutive rows have similar answers for 'y': none"
                " of 9,999 random orders is as similar (p = 0.0001); shuffle the rows before"
                " numbering and writing them"
            },
        ),
        (
            repeat_rows,
            {"rows": "1 of 100 test rows equal a training row in every feature (for example ids "},
        ),
    ],
)
def test_leaks_of_imported_tasks_are_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Tables], None],
    expected: dict[str, str],
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    tables = sound_tables()
    spoil(tables)
    for name, table in tables.items():
        path = tmp_path / "data" / "ripe-fruit" / "prepared" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    checkout = checkouts.mle_bench(tmp_path / "checkout")
    import_tasks("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")

    opened = open_folder(catalog.find("mle-bench-ripe-fruit").folder)

    found = {f.check: f.text for f in opened.findings if f.verdict == "failed"}
    assert found.keys() == expected.keys()
    assert all(found[check].startswith(text) for check, text in expected.items())
    assert len(opened.findings) > 10
