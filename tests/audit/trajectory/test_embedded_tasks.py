"""The solution of an embedded task comes out the same, twice in a row."""

import json
import os
from pathlib import Path

import pytest

from kernel_env.tasks import catalog
from support.cli import run_cli

FAST = ("image-segment", "mnist-5k", "spam-email")
TASKS = sorted(catalog.task_folders()) if os.environ.get("KERNEL_ENV_VERIFY") == "all" else FAST
"""`KERNEL_ENV_VERIFY=all` chooses every embedded task, which takes most of an hour."""


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("task", TASKS)
def test_a_solution_is_reproduced_twice_in_a_row(task: str, tmp_path: Path) -> None:
    done = run_cli("run", task, "--agent", "baseline", "--out", tmp_path, timeout_s=1800)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob(f"{task}/*")

    for _ in range(2):
        done = run_cli("replay", folder, "--verify", "--json", timeout_s=1800)
        found = json.loads(done.stdout)
        assert found["verdict"] == "REPRODUCED", found["reason"]
        assert found["final"]["same_bytes"] is True
