"""Check that records are written whole, read by later versions, and folded to a state."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.errors import UsageError
from kernel_env.suite.history import fold
from kernel_env.suite.log import Line, Log, Regraded, Retry, read_folder
from kernel_env.suite.plan import Shard
from support.suites import AT, USAGE, fault, finished, started

REGRADED = Regraded(key="k", attempt=1, at=AT, grade_key="g2", record={**USAGE, "new": True})


def write(folder: Path, *lines: Line, shard: Shard = Shard()) -> Path:  # noqa: B008
    with Log(folder, shard) as log:
        for line in lines:
            log.append(line)
    return log.path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    lines = [started(), fault(), started(2), finished(2), Retry(key="z", attempt=2, at=AT)]

    path = write(tmp_path, *lines)

    assert list(read_folder(tmp_path)) == lines
    assert path.read_bytes().count(b"\n") == 5
    assert {json.loads(line)["v"] for line in path.read_text().splitlines()} == {1}


@settings(max_examples=30)
@given(cut=st.integers(min_value=1, max_value=400))
def test_a_cut_last_line_is_ignored_and_then_replaced(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = write(folder, started(), finished())
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: max(first, len(whole) - cut)])

    cut_lines = read_folder(folder)
    write(folder, finished())

    assert list(cut_lines) == [started()]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"v": 2, "kind": "new"}', "line 2, has version 2; this kernel_env reads up to 1"),
        ("{}", "line 2, is no record of a suite: KeyError: 'v'"),
        ("nonsense", "line 2, is no record of a suite: JSONDecodeError"),
        ('{"v": 1, "kind": "other"}', "is no record of a suite: : Input tag 'other'"),
        ('{"v": 1, "kind": "retry", "key": "k", "attempt": 1}', "retry.at: Field required"),
        ('{"v": "1"}', "line 2, is no record of a suite: TypeError"),
        ("[" * 100_000, "line 2, is no record of a suite: RecursionError"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, started())
    with path.open("a") as file:
        file.write(f"{line}\n")

    with pytest.raises(UsageError) as raised:
        read_folder(tmp_path)

    assert message in str(raised.value)


def test_a_field_of_a_later_minor_version_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, started())
    path.write_text(path.read_text().replace('"v": 1,', '"v": 1, "later": [1],', 1))

    assert list(read_folder(tmp_path)) == [started()]


def test_records_of_shards_are_merged(tmp_path: Path) -> None:
    write(tmp_path, started(2, "b"), finished(2, "b"), started(1, "c"))
    write(tmp_path, started(1, "b"), fault(1, "b"), shard=Shard(number=1, count=2))
    write(tmp_path, started(1, "a"), finished(1, "a"), shard=Shard(number=2, count=2))

    histories = fold(read_folder(tmp_path))

    assert [each.started.attempt for each in histories["b"].attempts] == [1, 2]
    assert histories["a"].finished
    assert histories["b"].finished
    assert histories["b"].money == 0.5
    assert histories["c"].last
    assert histories["c"].last.ending is None


def test_new_grades_replace_the_record_and_keep_the_money() -> None:
    history = fold([started(), finished(), REGRADED])["k"]

    assert history.finished
    assert history.finished.record == REGRADED.record
    assert history.grade_key == "g2"
    assert history.money == 0.25


def test_faults_before_a_retry_do_not_count() -> None:
    before = [started(), fault(), started(2), fault(2), Retry(key="k", attempt=2, at=AT)]
    history = fold([*before, started(3), fault(3)])["k"]

    assert [each.attempt for each in history.faults] == [3]


def test_a_line_for_an_attempt_that_never_started_changes_nothing() -> None:
    assert fold([finished(), replace(REGRADED, attempt=3)])["k"].last is None
