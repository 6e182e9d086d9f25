"""A new task's split keeps rows together that are nearly equal."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.audit.task import duplicates
from kernel_env.audit.task.task_under_test import load_tables
from kernel_env.authoring import from_table
from kernel_env.authoring.families import find_families
from kernel_env.authoring.from_table.folder import write
from kernel_env.errors import UsageError
from kernel_env.tasks.prepare import Prepared, prepare

random = np.random.RandomState(3)
WORDS = random.choice(["tea", "milk", "bread", "salt", "rice", "corn", "fish", "egg"], (150, 9))
TEXTS = [" ".join(words) for words in WORDS]
NUMBERS = random.normal(size=150)
TWINS = pd.DataFrame(
    {
        "x": [*NUMBERS, *(NUMBERS + 1e-9)],
        "z": [*random.normal(size=150), *random.normal(size=150)],
        "y": random.choice(["yes", "no"], 300),
    }
)
TWINS["z"] = [*TWINS["z"][:150], *(TWINS["z"][:150] - 1e-9)]


def make(table: pd.DataFrame, folder: Path, **options: Any) -> tuple[Prepared, from_table.Design]:
    text = table.astype(str)
    design = from_table.design("alike", Path("alike"), text, **{"target": "y", **options})
    task = write(design, text, folder / "alike")
    return prepare(task), design


def read(prepared: Prepared) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    public = prepared.public
    return (
        pd.read_csv(public / "train.csv"),
        pd.read_csv(public / "test.csv"),
        pd.read_csv(prepared.answers),
    )


def test_nearly_equal_rows_stay_together(tmp_path: Path) -> None:
    prepared, design = make(TWINS, tmp_path)

    train, test, _ = read(prepared)
    assert design.families is not None
    assert "family" not in train
    assert not {round(x, 6) for x in train["x"]} & {round(x, 6) for x in test["x"]}


def test_nearly_equal_texts_stay_together(tmp_path: Path) -> None:
    texts = [*TEXTS, *(f"{text.upper()}!" for text in TEXTS)]
    table = pd.DataFrame({"text": texts, "y": random.choice(["yes", "no"], 300)})

    prepared, design = make(table, tmp_path)

    train, test, _ = read(prepared)
    assert design.domain == "language"
    assert not {t.strip("!").lower() for t in train["text"]} & {
        t.strip("!").lower() for t in test["text"]
    }


def test_a_group_split_keeps_alike_texts_of_several_groups_together(tmp_path: Path) -> None:
    texts = [*TEXTS, *(f"{text}." for text in TEXTS)]
    table = pd.DataFrame({"text": texts, "who": [f"w{n % 60}" for n in range(300)]})

    prepared, _ = make(
        table.assign(y=random.choice(["yes", "no"], 300)), tmp_path, split="group:who"
    )

    train, test, _ = read(prepared)
    assert not set(train["who"]) & set(test["who"])
    assert not {t.strip(".") for t in train["text"]} & {t.strip(".") for t in test["text"]}


def test_rows_that_differ_need_no_families() -> None:
    table = TWINS[:150].astype(str)

    assert from_table.design("d", Path("d"), table, target="y").families is None


def test_all_rows_alike_is_said() -> None:
    table = pd.DataFrame({"x": ["1", "2"] * 60, "y": ["a", "b", "b"] * 40})

    with pytest.raises(UsageError, match="rows differ in the features"):
        from_table.design("d", Path("d"), table, target="y")


@given(st.lists(st.sampled_from(["1.0", "2.5", "3.25"]), min_size=2, max_size=30))
def test_equal_rows_are_always_one_family(cells: list[str]) -> None:
    families = find_families(pd.DataFrame({"a": cells, "b": cells}))

    for cell in set(cells):
        assert len({f for f, c in zip(families, cells, strict=True) if c == cell}) == 1


def test_a_split_by_time_in_each_group(tmp_path: Path) -> None:
    days = [f"2020-{n % 25 // 28 + 1:02}-{n % 25 + 1:02}" for n in range(300)]
    table = pd.DataFrame(
        {"day": days, "shop": [f"s{n // 25}" for n in range(300)], "y": random.normal(size=300)}
    )

    prepared, design = make(table, tmp_path, split="group:shop,time:day")

    train, test, _ = read(prepared)
    last, first = train.groupby("shop")["day"].max(), test.groupby("shop")["day"].min()
    assert set(last.index) == set(first.index) == set(table["shop"])
    assert (last < first).all()
    assert (design.split.method, design.domain) == ("time in group", "time series")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("group:x,group:x", "--split is 'group:x,group:x'"),
        ("group:x,time:", "--split is 'group:x,time:'"),
        ("time:y", "'y' is the id or the target"),
        ("group:who,time:w", "no column 'w'"),
    ],
)
def test_a_wrong_split_is_said(split: str, message: str) -> None:
    table = TWINS.assign(who=[f"w{n % 60}" for n in range(300)]).astype(str)

    with pytest.raises(UsageError, match=message):
        from_table.design("d", Path("d"), table, target="y", split=split)


# ── several targets ───────────────────────────────────────────────────────────────────────

AMOUNTS = pd.DataFrame(random.normal(size=(200, 3)).round(4), columns=["a", "b", "c"])
AMOUNTS["u"], AMOUNTS["v"] = AMOUNTS["a"] * 2, AMOUNTS["b"] - 1


def test_several_targets_are_one_submission(tmp_path: Path) -> None:
    prepared, design = make(AMOUNTS, tmp_path, target=["u", "v"])

    train, test, answers = read(prepared)
    assert (design.kind, design.metric.name) == ("regression", "r2")
    assert list(answers) == ["id", "u", "v", "Usage"]
    assert list(test) == ["id", "a", "b", "c"]
    assert {"u", "v"} <= set(train)
    sample = pd.read_csv(prepared.public / "sample_submission.csv")
    assert list(sample) == ["id", "u", "v"]
    notebook = (tmp_path / "alike" / "solution.ipynb").read_text()
    assert "TARGETS" in notebook


def test_several_targets_must_be_of_one_kind() -> None:
    table = AMOUNTS.assign(w=["x", "y"] * 100).astype(str)

    with pytest.raises(UsageError, match="several targets must all be numbers, or all 0 and 1"):
        from_table.design("d", Path("d"), table, target=["u", "w"])


# ── domains ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("table", "domain"),
    [
        (
            pd.DataFrame({"name": [f"{a}{b}" for a, b in zip(TEXTS, range(150), strict=True)]}),
            "language",
        ),
        (pd.DataFrame({"word": [f"w{n}" for n in range(150)]}), "language"),
        (pd.DataFrame({"colour": ["red", "blue", "green"] * 50, "n": range(150)}), "tabular"),
        (pd.DataFrame(random.randint(0, 255, (150, 25))).add_prefix("pixel_"), "vision"),
        (pd.DataFrame(random.normal(size=(150, 24))).add_prefix("x_"), "time series"),
        (pd.DataFrame(random.normal(size=(150, 24))).add_prefix("f"), "tabular"),
    ],
)
def test_the_domain_follows_from_the_columns(table: pd.DataFrame, domain: str) -> None:
    text = table.assign(y=random.choice(["yes", "no"], 150)).astype(str)

    assert from_table.design("d", Path("d"), text, target="y").domain == domain


def test_rare_classes_are_dropped_or_joined() -> None:
    table = TWINS.astype(str).assign(
        y=["a"] * 140 + ["b"] * 140 + ["c"] * 12 + ["d"] * 4 + ["e"] * 4
    )

    with pytest.raises(UsageError, match="--rare drop or --rare join"):
        from_table.design("d", Path("d"), table, target="y")
    dropped = from_table.without_rare_classes(table, "y", "drop")
    joined = from_table.without_rare_classes(table, "y", "join", below=12)
    assert set(dropped["y"]) == {"a", "b", "c"}
    assert (joined["y"] == "other").sum() == 8


def test_families_satisfy_the_checks(tmp_path: Path) -> None:
    text = TWINS.astype(str)
    task = write(from_table.design("alike", Path("a"), text, target="y"), text, tmp_path / "alike")

    found = duplicates.check_rows(load_tables(task, prepare(task)))

    assert {finding.verdict for finding in found} == {"ok"}


def test_a_family_decides_the_split_and_is_no_feature(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": random.normal(size=300), "code": [f"c{n % 60}" for n in range(300)]})
    table["copy"] = table["code"].str[1:].astype(int) + 0.5
    table["y"] = random.choice(["yes", "no"], 300)

    prepared, design = make(table, tmp_path, split="family:code")

    train, test, _ = read(prepared)
    assert list(test) == ["id", "x", "copy"]
    assert not set(train["copy"]) & set(test["copy"])
    assert [column.name for column in design.columns] == ["x", "copy"]


def test_numbers_are_classes_if_the_metric_says_so() -> None:
    table = AMOUNTS.assign(y=np.arange(200) % 25).round().astype(str)
    table["a"] = [str(n) for n in range(200)]

    with pytest.raises(UsageError, match="each class needs at least 10"):
        from_table.design("d", Path("d"), table, target="y", metric="accuracy")
    chosen = from_table.design(
        "d",
        Path("d"),
        table.assign(y=np.arange(200) % 9).astype(str),
        target="y",
        metric="macro_f1",
    )
    assert chosen.kind == "multiclass classification"
