"""Runs are listed as a table, as JSON lines and as a DataFrame, sorted and filtered."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernel_env
from kernel_env.errors import UnknownName, UsageError
from kernel_env.report.listing import COLUMNS, ordered, select
from support.cli import error_line, run_cli
from support.v01 import EPISODES

ROWS: list[dict[str, Any]] = [
    {"task": "a", "place": 0.5, "status": "finished", "started": "1"},
    {"task": "b", "place": None, "status": "crashed", "started": "2"},
    {"task": "ab", "place": 0.9, "status": "budget", "started": "3"},
]


def tasks(*conditions: str) -> list[str]:
    return [row["task"] for row in select(ROWS, conditions)]


def test_conditions_choose_rows() -> None:
    assert tasks("place>0.5") == ["ab"]
    assert tasks("place>=.5", "task~A") == ["a", "ab"]
    assert tasks("place=0.50") == ["a"]
    assert tasks("status != finished") == ["b", "ab"]
    assert tasks("place=") == ["b"]
    assert tasks("started<3") == ["a", "b"]


@pytest.mark.parametrize("condition", ["place", "=3", "a b=3", ""])
def test_what_is_no_condition_is_an_error(condition: str) -> None:
    with pytest.raises(UsageError, match="give COLUMN=VALUE"):
        select(ROWS, [condition])


def test_an_unknown_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="did you mean 'status'"):
        select(ROWS, ["staus=finished"])
    with pytest.raises(UnknownName, match="no column named 'nope'"):
        ordered(ROWS, "-nope")


VALUES = st.lists(st.none() | st.floats(allow_nan=False) | st.integers())


@given(VALUES)
def test_rows_without_a_value_come_last_in_both_directions(values: list[float | None]) -> None:
    rows = [{"place": value} for value in values]
    known = sorted(value for value in values if value is not None)
    missing = [None] * values.count(None)

    upwards = [row["place"] for row in ordered(rows, "place")]
    downwards = [row["place"] for row in ordered(rows, "-place")]

    assert upwards == known + missing
    assert downwards == known[::-1] + missing


def test_the_command_lists_runs_by_any_column() -> None:
    done = run_cli("runs", EPISODES, "--where", "status=finished", "--sort", "-steps", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {row["status"] for row in rows} == {"finished"}
    assert [row["steps"] for row in rows] == sorted((row["steps"] for row in rows), reverse=True)
    assert all(tuple(row) == COLUMNS for row in rows)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    shutil.copytree(EPISODES / "finished", tmp_path / "runs" / "one")
    shutil.copytree(EPISODES / "interrupted-journal", tmp_path / "runs" / "two")
    (tmp_path / "runs" / "three").mkdir()
    (tmp_path / "runs" / "three" / "record.json").write_text('{"task": 3}')

    done = run_cli("runs", cwd=tmp_path)

    assert "$0.3750" in done.stdout
    assert "not ended" in done.stdout
    assert "three: left out: " in done.stderr
    assert run_cli("runs", "--limit", "1", "--json", cwd=tmp_path).stdout.count("\n") == 1


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    assert "has no record.json below it, and no journal.jsonl" in error_line(
        run_cli("runs", tmp_path)
    )


def test_runs_are_a_data_frame() -> None:
    frame = kernel_env.load_runs(EPISODES)

    finished = frame[frame.episode == "20261128-040149-fe1917"].iloc[0]
    assert finished.place == 1.0
    assert finished["usage.money"] == 0.375
    assert Path(finished.folder).name == "finished"
    assert set(frame[frame.status == "not ended"].steps.dropna()) == set()


def test_a_run_that_cannot_be_read_is_left_out_of_the_data_frame(tmp_path: Path) -> None:
    shutil.copytree(EPISODES / "finished", tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "record.json").write_text('{"format": 99}')

    with pytest.warns(UserWarning, match="two: left out: .*format 99"):
        frame = kernel_env.load_runs(tmp_path)

    assert len(frame) == 1
