"""Parse mutated submissions: each is a table with the task's columns, or has a readable reason.

The corpus holds a small file of each kind that was ever handed in by mistake or on purpose. Bytes
are parsed in this process, where an exception that the parser does not expect is seen.
"""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.grading import table_codec, worker
from kernel_env.grading.metric import CellType
from support.fuzz import examples
from support.schemas import schema

CORPUS = [
    b"id,y\n1,0.5\n2,0.25\n3,1\n",
    b'"id","y"\r\n"1","0.5"\r\n"2","a, b"\r\n',
    b"\xef\xbb\xbfid,y\n1,1\n",
    b"id,y\n1,1,\n2,2,\n",
    b",id,y\n0,1,2\n",
    b"id,y,y\n1,1,1\n",
    b"id;y\n1;2\n",
    b"id\ty\n1\t2\n",
    b"\n" + b"," * 1_500,
    b'"a\nb\nc"' + b"," * 300,
    b'id,y\n1,"never closed\n2,3\n',
    b"id,y\n1,\xff\xfe\n",
    b"\xff\xfei\0d\0,\0y\0",
    b"\x1f\x8b\x08\0\0\0\0\0",
    b"PK\x03\x04",
    b"id,y\n1," + b"9" * 5_000 + b"\n",
    b"id,y\n" + b"x" * 5_000 + b",1\n",
    b"id,y\n1,1e400\n2,-1e400\n3,nan\n4,inf\n5,-0\n",
    b"id,y\n1," + b"[" * 3_000 + b"\n",
    b"id,y\n" + b"1,2\n" * 1_000,
    b"id,y\r1,2\r2,3\r",
    b"id,y\n1,\xe2\x80\xae\x1b[31m\xc2\x9b\n",
    b'"x\n\n**graded**","<img src=x onerror=alert(1)>"\n1,2\n',
    b"id,y\n1,True\n2,0x10\n3,1_000\n4,\xd9\xa1\n",
    b"id,y\n,\n,\n",
    b"id,y",
    b"",
    b"\0" * 50,
]
TOKENS = [b",", b"\n", b"\r", b'"', b'""', b"\0", b"nan", b"1e999", b"-", b" ", b"\t", b"\xc3\x28"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a file of the corpus with a few bytes changed, repeated or taken from another one."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 50)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at:at] = draw(st.sampled_from(TOKENS)) * draw(st.integers(1, 40))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * draw(st.integers(1, 20))
            case 3:
                data[at:end] = draw(st.binary(max_size=8))
            case 4:
                data[at:] = draw(st.sampled_from(CORPUS))[at:]
    return bytes(data)


CELL_TYPES: tuple[CellType, ...] = (
    *("number", "non_negative", "probability", "integer", "binary", "label", "list", "anything"),
)


@given(mutated(), st.sampled_from(CELL_TYPES))
@settings(max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_a_table_or_have_a_reason(data: bytes, wants: CellType) -> None:
    check(data, wants)


@pytest.mark.parametrize("wants", CELL_TYPES)
def test_each_file_of_the_corpus_is_a_table_or_has_a_reason(wants: CellType) -> None:
    for data in CORPUS:
        check(data, wants)


def check(data: bytes, wants: CellType) -> None:
    """Parse a file as the parser's process does."""
    found = worker.parse(data, schema(wants, targets=("y",)))

    if found.startswith(worker.TABLE):
        assert list(table_codec.unpack(found[1:])) == ["id", "y"]
        return
    assert found.startswith(worker.REASON)
    reason = found[1:].decode()
    assert 10 < len(reason) < 1_000
    assert not re.search(r"[\n\r]", reason)
