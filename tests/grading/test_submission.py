"""Check which bytes are a submission, and the reason for each rejection."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError
from kernel_env.grading.submission import parse
from support.schemas import schema

IDS = pd.DataFrame({"id": ["1", "2", "3"]})
NUMBERS = schema(targets=("y",))
LABELS = schema("label", targets=("y",))
PROBABILITIES = schema("probability", targets=("y",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the submission is empty; write a CSV file with the columns id, y"),
        (b"\n\n", r"contains only whitespace \(2 bytes\)"),
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
        parse(data, NUMBERS, IDS)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_rows_can_be_in_any_order() -> None:
    table = parse(b"id,y\n3,30\n1,10\n2,20\n", NUMBERS, IDS)

    assert table["y"].tolist() == [10.0, 20.0, 30.0]


def test_columns_can_be_in_any_order() -> None:
    table = parse(b"y,id\n30,3\n10,1\n20,2\n", NUMBERS, IDS)

    assert table["y"].tolist() == [10.0, 20.0, 30.0]


def test_labels_that_look_like_numbers_stay_text() -> None:
    table = parse(b"id,y\n1,01\n2, a \n3,True\n", LABELS, IDS)

    assert table["y"].tolist() == ["01", "a", "True"]


def test_probabilities_must_be_from_0_to_1() -> None:
    with pytest.raises(SubmissionError, match="ranges from 0 to 2"):
        parse(b"id,y\n1,0\n2,1\n3,2\n", PROBABILITIES, IDS)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_parsed_or_rejected(data: bytes) -> None:
    try:
        table = parse(data, NUMBERS, IDS)
    except SubmissionError:
        return
    assert table.shape == (3, 1)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_numbers_are_parsed_exactly(values: list[float]) -> None:
    data = pd.DataFrame({"id": IDS["id"], "y": values}).to_csv(index=False).encode()

    assert parse(data, NUMBERS, IDS)["y"].tolist() == values
