"""A metric, an agent and a sandbox back end of a separate package, used through the front door."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_env import ExecuteCode, Reset, ValidateCode, open_episode, plugins
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning
from kernel_env.sandbox.conformance import SANDBOX_CHECKS, Check, check_name

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{LimitedKernelWarning.__module__}.{LimitedKernelWarning.__name__}"
)


def kernel_env(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kernel_env.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )


def printed(step: Any) -> str:
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in step.cell.outputs
    )


def test_an_installed_metric_grades_a_task(
    installed: Path, task_folder: Path, tmp_path: Path
) -> None:
    path = task_folder / "task.toml"
    path.write_text(re.sub(r'(?m)^name = "rmse"$', 'name = "pinball"', path.read_text()))
    assert 'name = "pinball"' in path.read_text()

    done = kernel_env(
        "run",
        task_folder,
        "--agent",
        "copy-sample",
        "--sandbox",
        "local",
        "--out",
        tmp_path,
        "--json",
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["agent"], result["status"], result["steps"]) == ("copy-sample", "finished", 2)
    assert result["public_score"] > 0


def test_an_installed_sandbox_runs_an_agent(installed: Path, tiny: str, tmp_path: Path) -> None:
    done = kernel_env(
        "run",
        tiny,
        "--agent",
        "copy-sample",
        "--sandbox",
        "subprocess",
        "--out",
        tmp_path,
        "--json",
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sandbox"] == "subprocess"
    assert json.loads(done.stdout)["missing"].startswith("forking is unavailable")


@pytest.mark.parametrize("check", SANDBOX_CHECKS, ids=check_name)
async def test_the_example_sandbox_conforms(check: Check, installed: Path) -> None:
    await check(plugins.find("sandbox", "subprocess"))


async def test_seven_verbs_are_enough_for_an_episode(
    installed: Path, tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="subprocess", out=tmp_path) as episode:
        first = await episode.act(ExecuteCode(code="x = 41; open('f', 'w').write('kept'); x"))
        trial = await episode.act(ValidateCode(code="print(open('f').read()); open('f', 'w')"))
        crash = await episode.act(ExecuteCode(code="import os; os._exit(1)"))
        after = await episode.act(ExecuteCode(code="x + 1, open('f').read()"))
        (child,) = await episode.fork()
        async with child:
            forked = await child.act(ExecuteCode(code="x + 2"))
        await episode.act(Reset())
        fresh = await episode.act(ExecuteCode(code="import os; 'x' in dir(), os.listdir()"))

    assert printed(first) == "41"
    assert printed(trial).startswith("kept")
    assert crash.cell is not None
    assert crash.cell.recovery is not None
    assert crash.cell.recovery.how == "replay"
    assert printed(after) == "(42, 'kept')"
    assert printed(forked) == "43"
    assert printed(fresh) == "(False, [])"
