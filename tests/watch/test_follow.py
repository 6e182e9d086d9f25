"""A journal is followed as it grows, line by line."""

from pathlib import Path

import pytest

from kernel_env.episode.journal import JOURNAL
from kernel_env.watch.follow import Followed
from support.v01 import ALL, EPISODES


@pytest.mark.parametrize("size", [1, 1000])
def test_a_journal_is_followed_as_it_grows(tmp_path: Path, size: int) -> None:
    data = (EPISODES / "interrupted" / JOURNAL).read_bytes()
    followed, numbers = Followed(tmp_path), []

    with (tmp_path / JOURNAL).open("wb", buffering=0) as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            if size > 1 or data[start : start + 1] == b"\n":
                numbers += [step.number for step in followed.read()]

    assert numbers == list(range(1, followed.progress.steps + 1))
    assert numbers
    assert followed.header is not None
    assert followed.ending is not None
    assert followed.over


def test_half_a_line_that_is_taken_back_is_forgotten(tmp_path: Path) -> None:
    header, first, *_ = (EPISODES / "finished" / JOURNAL).read_bytes().splitlines(keepends=True)
    path, followed = tmp_path / JOURNAL, Followed(tmp_path)
    path.write_bytes(header + first[:-20])
    assert list(followed.read()) == []

    path.write_bytes(header)
    assert list(followed.read()) == []
    path.write_bytes(header + first)

    assert [step.number for step in followed.read()] == [1]


@pytest.mark.parametrize("name", ALL)
def test_runs_of_earlier_versions_can_be_shown(name: str) -> None:
    followed = Followed(EPISODES / name)

    steps = list(followed.read())

    assert followed.header is not None
    assert len(steps) == followed.progress.steps
    assert not followed.damaged


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"step": {}}', b'{"header": 1}', b"\xff"])
def test_a_damaged_journal_is_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(line + b"\n")
    followed = Followed(tmp_path)

    assert list(followed.read()) == []
    assert followed.over
    assert not list(Followed(tmp_path / "missing").read())
