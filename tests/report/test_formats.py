"""A suite's folder is a report of its jobs, and a report has other formats than a page."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env.report.html_report import Options, write_report
from kernel_env.report.recorded import find_recorded
from kernel_env.suite.log import Fault, Finished, Line, Log, Regraded, Started
from kernel_env.suite.plan import Shard
from kernel_env.suite.records import ListedJob, write_jobs
from support.cli import error_line, run_cli
from support.report_runs import made_records, write_records

AT = "2026-01-01T00:00:00+00:00"
TABLES = {
    "csv": "group,agent,measure,mean",
    "markdown": "## Overall",
    "paper": "| agent |",
}
"""How each format begins."""


def started(key: str, attempt: int) -> Started:
    return Started(
        key=key,
        attempt=attempt,
        at=AT,
        agent="ours",
        task="task-000",
        seed=0,
        grade_key="g",
        folder=f"episodes/task-000/ours/{key}-{attempt}",
        host="h",
        pid=1,
        settings={},
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Folder of a suite: two jobs that ended, a third that failed, a fourth that was not played."""
    folder = tmp_path / "suites" / "nightly"
    folder.mkdir(parents=True)
    records = [
        replace(
            record,
            key=f"k{n}",
            status="finished",
            error="",
            private_score=0.5,
            position_private=0.5,
        )
        for n, record in enumerate(made_records(2, 2))
    ]
    jobs = [
        ListedJob(key=f"k{n}", agent="ours", task=record.task, seed=record.seed)
        for n, record in enumerate(records[:4])
    ]
    write_jobs(folder, "nightly", "ours", jobs)
    better = replace(records[1], position_private=0.875)
    lines: list[Line] = [
        started("k0", 1),
        Finished(key="k0", attempt=1, at=AT, record=records[0].json()),
        started("k1", 1),
        Finished(key="k1", attempt=1, at=AT, record=records[1].json()),
        Regraded(key="k1", attempt=1, at=AT, grade_key="h", record=better.json()),
        Fault(
            key="k2",
            attempt=0,
            at=AT,
            failure="machine",
            status="machine_failed",
            reason="no <disk>",
        ),
        started("of earlier settings", 1),
        Finished(key="of earlier settings", attempt=1, at=AT, record=records[5].json()),
    ]
    with Log(folder, Shard()) as log:
        for line in lines:
            log.append(line)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of few runs, of two domains."""
    return write_records(tmp_path_factory.mktemp("few"), list(made_records(2, 1)))


@pytest.mark.parametrize("above", [False, True])
def test_a_suite_is_a_report_of_its_jobs(suite: Path, tmp_path: Path, above: bool) -> None:
    found = find_recorded([suite.parent if above else suite], lambda *_: None)
    written = write_report(found, tmp_path / "report", Options(), lambda *_: None)

    page = written.page.read_text()
    assert {each.agent for each in found.ended} == {"openai (qwen-coder-32b, ours)"}
    assert [each.result.position_private for each in found.ended] == [0.5, 0.875]
    assert found.anchor == "ours"
    assert "<title>Suite nightly</title>" in page
    reasons = re.search(r"Jobs of the suite without a result.*?</table>", page, re.DOTALL)
    assert reasons
    assert "machine: no &lt;disk&gt;" in reasons[0]
    assert "not played yet" in reasons[0]


@pytest.mark.parametrize("format_", TABLES)
def test_a_report_has_the_formats_of_tables(few: Path, format_: str) -> None:
    done = run_cli("report", few, "--format", format_)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(TABLES[format_])
    assert "qwen-coder-32b" in done.stdout
    if format_ == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert {row["group"] for row in rows} >= {"overall", "tabular", "vision"}
    if format_ == "paper":
        assert r"\begin{tabular}" in done.stdout


def test_a_report_as_json_has_all_of_it(few: Path) -> None:
    found = json.loads(run_cli("report", few, "--format", "json", "--anchor", "baseline").stdout)

    assert found["anchor"] == "baseline"
    assert found["overall"]["sentence"].startswith("Of ")
    assert len(found["cells"]) == 10


def test_an_unknown_anchor_or_format_is_one_line(few: Path) -> None:
    anchor = run_cli("report", few, "--format", "json", "--anchor", "baselin")
    format_ = run_cli("report", few, "--format", "htm")

    assert "did you mean 'baseline'" in error_line(anchor)
    assert "did you mean 'html'" in error_line(format_)
    assert "leave out --format csv" in error_line(
        run_cli("report", few, "--format", "csv", "--serve")
    )
