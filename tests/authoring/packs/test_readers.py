"""Each reader of packs reads its format as text, and says what is none."""

import bz2
import contextlib
import gzip
import lzma
import pickle
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kernel_env.authoring.packs import pickled_frames, readers, steps
from kernel_env.authoring.packs.manifest import Condition, SourceSection, TaskSection
from kernel_env.errors import TaskError


def source(reader: str, **options: Any) -> SourceSection:
    fields = {"wheel": "w", "file": "f", "reader": reader, "sha256": "0" * 64}
    return SourceSection.model_validate({**fields, **options})


def read(reader: str, data: bytes, name: str = "f", **options: Any) -> list[dict[str, str]]:
    table = readers.read(source(reader, **options), {name: data})
    return table.to_dict("records")  # type: ignore[return-value]


def database(folder: Path) -> bytes:
    path = folder / "d.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a integer, b text)")
        connection.executemany("insert into t values (?, ?)", [(1, "x"), (2, None)])
    connection.close()
    return path.read_bytes()


FRAME = pd.DataFrame(
    {"a": [1.0, None], "b": pd.Series(["x", None], dtype=object), "c": [True, False]}
)
ARFF = b"@relation r\n@attribute 'a b' numeric\n@attribute c {x,'y z'}\n@data\n1,x\n?,'y z'\n"
TS = b"@problemName p\n@data\n1,2:3,4:first\n5,?:7,8:second\n"
XML = (
    b"<all><chapter><name>I</name><diag><name>A00</name><desc>Cholera</desc>"
    b"<diag><name>A00.1</name><desc>Vibrio</desc></diag></diag></chapter></all>"
)
SDF = b"\n mol\n>  <ID>\n7\n\n>  <SOL> (x)\n-1.5\n\n$$$$\n"
CASES: dict[str, tuple[bytes, dict[str, Any], list[dict[str, str]]]] = {
    "csv": (b"a,b\n1,x\n,NA\n", {}, [{"a": "1", "b": "x"}, {"a": "", "b": "NA"}]),
    "csv with options": (
        b"skipped\n# no\n1;'2\n",
        {"separator": ";", "skip": 1, "comment": "#", "names": ["a", "b"], "quotes": False},
        [{"a": "1", "b": "'2"}],
    ),
    "csv with a separator after the last cell": (b"a,b\n1,x,\n", {}, [{"a": "1", "b": "x"}]),
    "spaced": (b"a  b\n1   2\n", {}, [{"a": "1", "b": "2"}]),
    "lines": (
        b"x 1\nno line of these\ny 2\n",
        {"pattern": r"(?P<name>\w) (?P<n>\d)", "keep": ["name", "n"]},
        [{"name": "x", "n": "1"}, {"name": "y", "n": "2"}],
    ),
    "json": (
        b'{"data": {"k1": {"a": 1, "l": [1]}, "k2": {"a": null}}}',
        {"row": "data"},
        [{"a": "1"}, {"a": ""}],
    ),
    "arff": (ARFF, {}, [{"a b": "1", "c": "x"}, {"a b": "", "c": "y z"}]),
    "ts": (
        TS,
        {},
        [
            {"label": "first", "x-0_0000": "1", "x-0_0001": "2", "x-1_0000": "3", "x-1_0001": "4"},
            {"label": "second", "x-0_0000": "5", "x-0_0001": "", "x-1_0000": "7", "x-1_0001": "8"},
        ],
    ),
    "sdf": (SDF, {}, [{"ID": "7", "SOL": "-1.5"}]),
    "xml": (
        XML,
        {"row": "diag", "fields": {"code": "name", "chapter": "..chapter/name"}},
        [{"code": "A00", "chapter": "I"}, {"code": "A00.1", "chapter": "I"}],
    ),
    "pickled-frame": (
        pickle.dumps(FRAME.set_axis(pd.Index([*FRAME], dtype=object), axis=1), protocol=4),
        {},
        [{"a": "1", "b": "x", "c": "True"}, {"a": "", "b": "", "c": "False"}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_format_is_read_as_text(case: str) -> None:
    data, options, wanted = CASES[case]

    assert read(case.partition(" ")[0], data, **options) == wanted


def test_a_database_is_read_and_cannot_be_written(tmp_path: Path) -> None:
    data = database(tmp_path)

    assert read("sqlite", data, query="select a, b from t") == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": ""},
    ]
    with pytest.raises(TaskError, match="not sqlite"):
        read("sqlite", data, query="delete from t")
    with pytest.raises(TaskError, match="not sqlite"):
        read("sqlite", data, query="attach database '/tmp/other.db' as other")


@pytest.mark.parametrize(
    ("name", "pack"), [("f.csv.gz", gzip.compress), ("f.csv.xz", lzma.compress)]
)
def test_a_compressed_file_is_unpacked_by_its_suffix(name: str, pack: Any) -> None:
    assert read("csv", pack(b"a,b\n1,2\n"), name) == [{"a": "1", "b": "2"}]


def test_a_picture_becomes_grey_pixels() -> None:
    pytest.importorskip("vl_convert")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1" width="2" height="2">'
    svg += b'<rect x="0" y="0" width="1" height="1"/></svg>'

    pixels = read("svg", svg, "icons/half.svg", size=4)[0]

    assert pixels.pop("file") == "icons/half.svg"
    named = read("svg", svg, "icons/half.svg", size=4, pattern=r"(?P<set>\w+)/.+")[0]
    assert (named["set"], named["pixel_0000"]) == ("icons", pixels["pixel_0000"])
    with pytest.raises(TaskError, match="has no row"):
        read("svg", svg, "icons/half.svg", size=4, pattern="other/.+")
    assert len(pixels) == 16
    assert {int(value) < 128 for value in pixels.values()} == {True, False}


@pytest.mark.parametrize(
    "reader", ["arff", "json", "pickled-frame", "sqlite", "ts", "xml", "lines"]
)
@given(data=st.binary(max_size=60))
def test_other_bytes_are_refused(reader: str, data: bytes) -> None:
    options: Mapping[str, Any] = {
        "sqlite": {"query": "select a from t"},
        "xml": {"row": "r", "fields": {"a": "a"}},
        "lines": {"pattern": "(?P<a>never)"},
    }.get(reader, {})
    with contextlib.suppress(TaskError):
        read(reader, data, **options)


@pytest.mark.parametrize(
    "inside",
    [
        '<image href="{file}" width="8" height="8"/>',
        '<image xlink:href="{file}" width="8" height="8"/>',
        '<filter id="f"><feImage href="{file}"/></filter><rect width="8" height="8" filter="url(#f)"/>',
        '<use href="{file}#x"/>',
        "<style>rect {{ fill: url({file}) }}</style>",
        '<rect fill="url({file})"/>',
    ],
)
def test_a_picture_loads_no_file_of_this_machine(inside: str, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    file = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "black").save(file)
    begin = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'{begin} viewBox="0 0 8 8" width="8" height="8">{inside.format(file=file)}</svg>'

    with pytest.raises(TaskError, match=r"only shapes are drawn|refers to another file"):
        read("svg", svg.encode(), size=4)


@pytest.mark.parametrize(
    ("name", "pack"), [("f.gz", gzip.compress), ("f.xz", lzma.compress), ("f.bz2", bz2.compress)]
)
def test_a_file_that_unpacks_to_too_much_is_refused(
    name: str, pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LIMIT_BYTES", 1000)

    with pytest.raises(TaskError, match="unpacks to more than 1,000 bytes"):
        read("csv", pack(b"a,b\n" + b"1,2\n" * 1000), name)


@given(st.binary(max_size=80))
def test_no_bytes_make_the_unpickler_fail_otherwise(data: bytes) -> None:
    with pytest.raises(TaskError):
        pickled_frames.load(data)


# ── steps ─────────────────────────────────────────────────────────────────────────────────


def apply(table: pd.DataFrame, **options: Any) -> pd.DataFrame:
    fields: dict[str, Any] = {"licence": "x", "source": "x", "summary": "x", "family": "f"}
    fields |= {"topic": "t", "question": "q", "target": "y", **options}
    fields["from"] = [source("csv").model_dump()]
    return steps.apply(TaskSection.model_validate(fields), "task", table)


TABLE = pd.DataFrame(
    {
        "rownames": [str(n) for n in range(200)],
        "day": [f"{n % 28 + 1}.02.2020" for n in range(200)],
        "group": [f"g{n // 10}" for n in range(200)],
        "y": ["a", "b"] * 98 + ["c", "c", "", ""],
    }
)


def test_steps_are_applied_in_the_order_of_the_fields() -> None:
    made = apply(
        TABLE,
        rename={"day": "when"},
        dates={"when": "%d.%m.%Y"},
        where={"when": {"differs": ["2020-02-01"]}},
        cut={"group": 2},
        map={"group": {"g1": "first"}},
        rare={"below": 10},
    )

    assert list(made) == ["when", "group", "y"]
    assert set(made["y"]) == {"a", "b"}
    assert made["when"].min() == "2020-02-02"
    assert set(made["group"]) == {"first", *(f"g{n}" for n in (0, *range(2, 10)))}


def test_groups_are_chosen_whole_and_the_same_each_time() -> None:
    made = apply(TABLE, rows=100, split={"group": "group"})

    assert len(made) <= 100
    assert set(made["group"].value_counts()) <= {8, 10}
    pd.testing.assert_frame_equal(made, apply(TABLE, rows=100, split={"group": "group"}))


@pytest.mark.parametrize(
    ("form", "cell", "wanted"),
    [
        ("%d-%b-%y", "5-Jan-09", "2009-01-05"),
        ("year", "2000.5", "2000-07-02"),
        ("month", "1998 M02", "1998-02-01"),
        ("month", "1998 Feb", "1998-02-01"),
        ("month", "1939 Mar", "1939-03-01"),
        ("quarter", "1998 Q3", "1998-07-01"),
        ("%Y-%m-%dT%H:%M:%S%z", "2020-01-01T01:30:00+0100", "2020-01-01 00:30:00"),
    ],
)
def test_moments_are_written_as_iso_8601(form: str, cell: str, wanted: str) -> None:
    found = steps.moments(pd.Series([cell, ""], name="when"), form)

    assert list(found) == [wanted, ""]


def test_conditions_choose_cells() -> None:
    column = pd.Series(["1", "2", "30", ""], name="n")

    assert list(steps.meets(column, Condition(at_least=2))) == [False, True, True, False]
    assert list(steps.meets(column, Condition(matches=r"\d"))) == [True, True, False, False]
    assert list(steps.meets(column, Condition(filled=True))) == [True, True, True, False]
    assert list(steps.meets(column, Condition(equals=("1", "30")))) == [True, False, True, False]


def test_the_latest_rows_of_each_group_are_chosen() -> None:
    table = pd.DataFrame(
        {
            "year": [str(1900 + n % 50 + 100 * (n // 200)) for n in range(400)],
            "who": [f"w{n // 50}" for n in range(400)],
            "y": [str(n) for n in range(400)],
        }
    )

    made = apply(table, rows=160, split={"group": "who", "time": "year"})

    assert set(made["who"].value_counts()) == {20}
    assert made.groupby("who")["year"].min().str[2:].astype(int).min() == 30
