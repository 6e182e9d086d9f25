"""Check which bytes are a submission, and the reason for each rejection."""

from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError
from kernel_env.grading import table_codec
from kernel_env.grading.submission import SubmissionSchema, align, parse
from support.schemas import schema

IDS = pd.DataFrame({"id": ["1", "2", "3"]})
NUMBERS = schema(targets=("y",))
LABELS = schema("label", targets=("y",))
PROBABILITIES = schema("probability", targets=("y",))


def aligned(data: bytes, columns: SubmissionSchema, ids: pd.DataFrame = IDS) -> pd.DataFrame:
    """Parse a submission and align it, as two processes do."""
    return align(table_codec.unpack(table_codec.pack(parse(data, columns))), columns, ids)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the submission is empty; write a CSV file with the columns id, y"),
        (b"\n\n", r"contains only whitespace \(2 bytes\)"),
        (b"\v\f\n", "contains only whitespace"),
        (b"\0" * 100_000, r"only whitespace and zero bytes \(100,000 bytes\)"),
        (b"id,y\n1,\0\n", r"zero bytes"),
        (b"\xff\xfe\x00", r"zero bytes|not UTF-8"),
        (b"id,y\n1,\xff\n", r"not UTF-8"),
        (b"id,z\n1,2\n", r"columns id, z; this task expects id, y \(missing: y; unexpected: z\)"),
        (b",id,y\n0,1,2\n", r"index=False"),
        (b"id,y\n1,1\n2,2\n", r"2 rows; this task expects 3: 1 ids are missing \(for example 3\)"),
        (b"id,y\n1,1\n2,2\n3,3\n4,4\n", r"4 rows.*1 are unknown \(for example 4\)"),
        (b"id,y\n1,1\n2,2\n2,3\n", r"1 ids appear more than once \(for example 2\)"),
        (b"id,y\n1,1\n2,\n3,3\n", r"column 'y' has 1 missing values \(NaN\), the first in row 2"),
        (b"id,y\n1,1\n2,NaN\n3,3\n", r"1 missing values"),
        (b"id,y\n1,1\n2,inf\n3,3\n", r"not finite numbers \(for example 'inf'\)"),
        (b"id,y\n1,1\n2,many\n3,3\n", r"not finite numbers \(for example 'many'\)"),
        (b'id,y\n1,"1\n2,2\n3,3\n', r"not a CSV table|rows; this task expects 3"),
        (b"id,y\n1,1,7\n2,2,7,8\n3,3\n", r"not a CSV table|ids|rows"),
    ],
)
def test_a_rejection_states_what_was_found_and_expected(data: bytes, message: str) -> None:
    with pytest.raises(SubmissionError, match=message) as caught:
        aligned(data, NUMBERS, IDS)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,y\n1,1,\n2,2,\n3,3,\n", r"rows of 3 cells under a header of 2 columns \(id, y\)"),
        (b"id,y\n1,1,\n2,2\n3,3\n", r"rows of 3 cells under a header of 2 columns"),
        (b"id,y\n1,1,,\n2,2,,\n3,3,,\n", r"rows of 4 cells under a header of 2 columns"),
        (b"id,y\n1,1\n2\n3,3\n", r"column 'y' has 1 missing values"),
        (b"id,y,y\n1,1,1\n", r"unexpected: y.1"),
        (b"\x1f\x8b" + bytes(40), r"is a gzip file, not UTF-8 text"),
        ("id,y\n1,1\n".encode("utf-16"), r"is UTF-16 text, not UTF-8 text"),
        (b"PK\x03\x04" + bytes(40), r"is a zip file"),
        (b"\n" + b"," * 2_500_000, r"about 2,500,001 columns; this task expects id, y"),
        (b"\r \r" + b"," * 2_500_000, r"about 2,500,001 columns; this task expects id, y"),
        (b"id,y\n1," + b"7" * 1_000_000 + b"\n2,2\n3,3\n", r"1 values that are not finite"),
        (b"id,y\n" + b"7" * 1_000_000 + b",1\n2,2\n3,3\n", r"1 are unknown \(for example 7777"),
        (b'"id\nx",y\n1,2\n', r"has the columns 'id\\nx', y"),
    ],
)
def test_other_slips_of_a_file_are_named(data: bytes, message: str) -> None:
    with pytest.raises(SubmissionError, match=message) as caught:
        aligned(data, NUMBERS)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_byte_order_mark_of_utf_8_is_no_part_of_a_name() -> None:
    assert aligned(b"\xef\xbb\xbfid,y\n3,3\n1,1\n2,2\n", NUMBERS)["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", ["1e300", "-1e300", "9007199254740994"])
def test_a_whole_number_has_to_be_exact(value: str) -> None:
    data = f"id,y\n1,{value}\n2,2\n3,3\n".encode()

    with pytest.raises(SubmissionError, match="whole numbers of at most 9,007,199,254,740,992"):
        aligned(data, schema("integer", targets=("y",)))


@pytest.mark.parametrize("given", ["a", " a", "a "])
def test_blanks_at_the_ends_of_ids_do_not_matter(given: str) -> None:
    ids = pd.DataFrame({"id": ["a ", " b"]})

    table = aligned(f"id,y\nb,2\n{given},1\n".encode(), NUMBERS, ids)

    assert table["y"].tolist() == [1, 2]


def test_ids_that_differ_in_blanks_alone_are_compared_as_written() -> None:
    ids = pd.DataFrame({"id": ["a", "a "]})

    assert aligned(b"id,y\na ,2\na,1\n", NUMBERS, ids)["y"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["row", "_merge", "id_x"])
def test_an_id_column_can_have_any_name(name: str) -> None:
    columns = schema(ids=(name,), targets=("y",))

    table = aligned(f"{name},y\nb,2\na,1\n".encode(), columns, pd.DataFrame({name: ["a", "b"]}))

    assert table["y"].tolist() == [1, 2]


def test_rows_can_be_in_any_order() -> None:
    table = aligned(b"id,y\n3,30\n1,10\n2,20\n", NUMBERS, IDS)

    assert table["y"].tolist() == [10.0, 20.0, 30.0]


def test_columns_can_be_in_any_order() -> None:
    table = aligned(b"y,id\n30,3\n10,1\n20,2\n", NUMBERS, IDS)

    assert table["y"].tolist() == [10.0, 20.0, 30.0]


def test_labels_that_look_like_numbers_stay_text() -> None:
    table = aligned(b"id,y\n1,01\n2, a \n3,True\n", LABELS, IDS)

    assert table["y"].tolist() == ["01", "a", "True"]


def test_probabilities_must_be_from_0_to_1() -> None:
    with pytest.raises(SubmissionError, match="ranges from 0 to 2"):
        aligned(b"id,y\n1,0\n2,1\n3,2\n", PROBABILITIES, IDS)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_parsed_or_rejected(data: bytes) -> None:
    try:
        table = aligned(data, NUMBERS, IDS)
    except SubmissionError:
        return
    assert table.shape == (3, 1)


CELLS = st.text(max_size=8) | st.none()


@given(st.lists(st.tuples(CELLS, st.floats(allow_nan=False), st.integers(-(2**53), 2**53))))
def test_a_table_is_decoded_as_it_was(rows: list[tuple[str | None, float, int]]) -> None:
    table = pd.DataFrame(
        {
            "text": pd.Series([row[0] for row in rows], dtype=object),
            "float": pd.Series([row[1] for row in rows], dtype=float),
            "int": pd.Series([row[2] for row in rows], dtype=int),
        }
    )
    decoded = table_codec.unpack(table_codec.pack(table))

    assert [None if pd.isna(cell) else cell for cell in decoded["text"]] == [row[0] for row in rows]
    assert decoded["float"].tolist() == [row[1] for row in rows]
    assert decoded["int"].tolist() == [row[2] for row in rows]


PACKED = table_codec.pack(pd.DataFrame({"id": ["1", "2"], "y": [1.0, 2.0]}))


@given(st.data())
def test_bytes_that_are_no_table_are_a_value_error(data: st.DataObject) -> None:
    changed = bytearray(PACKED[: data.draw(st.integers(0, len(PACKED)))])
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))

    with suppress(ValueError):
        assert table_codec.unpack(bytes(changed)).shape[0] >= 0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_numbers_are_parsed_exactly(values: list[float]) -> None:
    data = pd.DataFrame({"id": IDS["id"], "y": values}).to_csv(index=False).encode()

    assert aligned(data, NUMBERS, IDS)["y"].tolist() == values
