"""Records and journals of others are read as data: they name no folder and break nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from kernel_env.errors import UsageError
from kernel_env.report.listing import listed
from kernel_env.report.runs import NoMedals, report_run
from support.v01 import EPISODES

RECORD = json.loads((EPISODES / "finished" / "record.json").read_text())


def write(folder: Path, record: Any) -> Path:
    path = folder / "record.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return path


def test_a_record_cannot_name_a_folder(tiny: str, tmp_path: Path) -> None:
    path = write(tmp_path, {**RECORD, "task": tiny})

    with pytest.raises(NoMedals, match="is unknown"):
        report_run(path)


@pytest.mark.parametrize(
    "record",
    [
        *("", "[]", "[" * 100_000, '{"private_score": "x"}'),
        {**RECORD, "private_score": "high"},
        {**RECORD, "refusals": None},
        {**RECORD, "task": ["tiny"]},
    ],
)
def test_a_damaged_record_is_one_error(tmp_path: Path, record: Any) -> None:
    with pytest.raises(UsageError, match="is not the record of a run"):
        report_run(write(tmp_path, record))


def test_runs_are_listed_by_date_whether_they_ended_or_not() -> None:
    skipped: list[tuple[Path, str]] = []

    rows = listed([EPISODES], lambda *why: skipped.append(why))

    assert skipped == []
    assert [row["started"] for row in rows] == sorted(row["started"] for row in rows)
    by_folder = {Path(row["folder"]).name: row for row in rows}
    assert by_folder["finished"]["private_score"] == RECORD["private_score"]
    assert by_folder["finished"]["status"] == "finished"
    assert by_folder["interrupted-journal"]["status"] == "not ended"
    assert set(by_folder) == {path.parent.name for path in EPISODES.glob("*/journal.jsonl")}


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the folder of runs"):
        listed([tmp_path], print)
