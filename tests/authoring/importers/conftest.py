"""Fixtures of the importers' tests: a folder for a checkout, and a grader."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.grading.host import Grader, Scores
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import grading_spec, prepare
from support.checkouts import state
from support.importing import GradeTask

SPLITS = ("Public", "Private")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a checkout that must not change after `remember_state`, and an own cache."""
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    folder = tmp_path / "checkout"
    yield folder
    assert state(folder) == json.loads((tmp_path / "before.json").read_text())


@pytest.fixture(scope="module")
def grade() -> Iterator[GradeTask]:
    """Grade submissions by task name, with one grading process for a module."""

    async def grade_once(name: str, data: bytes) -> Scores:
        task = catalog.find(name)
        return await grader.grade(data, grading_spec(task, prepare(task)), SPLITS)

    with asyncio.Runner() as runner:
        grader = runner.run(Grader().__aenter__())
        yield lambda name, data: runner.run(grade_once(name, data))
        runner.run(grader.__aexit__(None, None, None))
