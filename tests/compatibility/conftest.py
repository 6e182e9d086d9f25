from pathlib import Path

import pytest

from support.v01 import OLD


@pytest.fixture(autouse=True)
def old_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the tasks beside the old files, and a cache of the test's own."""
    monkeypatch.setenv("KERNEL_ENV_TASKS", str(OLD / "tasks"))
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
