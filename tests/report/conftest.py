"""Provide runs and a report of them."""

import shutil
from pathlib import Path

import pytest

from support.cli import run_cli
from support.report_runs import REAL, made_records, write_records
from support.v01 import EPISODES


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs: made-up records, and a few real episodes, one of which has not ended."""
    records = list(made_records(4, 2, domains=["tabular", "vision"]))
    folder = write_records(tmp_path_factory.mktemp("runs"), records)
    for name in REAL:
        shutil.copytree(EPISODES / name, folder / "real" / name)
    return folder


@pytest.fixture(scope="session")
def report(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a report that the command line wrote."""
    out = tmp_path_factory.mktemp("out") / "report"
    done = run_cli("report", runs, "--out", out, "--title", "A & B <i>")
    assert done.stdout == f"page: {out / 'index.html'}\n", done.stderr
    return out
