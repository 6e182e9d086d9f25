"""Run cells in episodes of the tiny task, and read what the cells returned."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode, ValidateCode
from kernel_env.episode.step import CellExecuted, CodeValidated
from kernel_env.grading.grade import Grade
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import owner

DEFINE_SUBMIT = """
import os, pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
def submit(slope):
    test.assign(y=slope * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""
"""Defines `submit(slope)`, which writes the predictions of a straight line."""
SUBMIT_LINE = DEFINE_SUBMIT + "submit(3)\n"
"""Submits the best line: public RMSE 0.0880, private RMSE 0.0936."""
PUBLIC_RMSE, PRIVATE_RMSE = 0.0880, 0.0936
"""The scores of `SUBMIT_LINE`."""


OpenTiny = Callable[..., AbstractAsyncContextManager[Episode]]
"""The fixture `open_tiny`: opens an episode of the tiny task, with the options of `open_episode`."""


def constant_reward(grade: Grade, best: Grade | None, higher_is_better: bool) -> float:
    """Reward every graded submission with 0.25."""
    return 0.25


async def execute(episode: Episode, code: str) -> CellExecuted:
    """Execute a cell and return its outcome."""
    outcome = (await episode.act(ExecuteCode(code=code))).outcome
    assert isinstance(outcome, CellExecuted)
    return outcome


async def execute_text(episode: Episode, code: str) -> str:
    """Execute a cell and return what it printed and its result as text."""
    return output_text(await execute(episode, code))


async def validate(episode: Episode, code: str) -> CodeValidated:
    """Validate code and return the outcome."""
    outcome = (await episode.act(ValidateCode(code=code))).outcome
    assert isinstance(outcome, CodeValidated)
    return outcome


async def validate_text(episode: Episode, code: str) -> str:
    """Validate code and return what it printed and its result as text."""
    return output_text(await validate(episode, code))


def output_text(outcome: CellExecuted | CodeValidated) -> str:
    """Join what a cell printed, its results and its errors as text."""
    return "".join(map(text_of_output, outcome.cell.outputs)).strip()


def text_of_output(output: dict[str, Any]) -> str:
    """Return one output as text."""
    match output["output_type"]:
        case "stream":
            return str(output["text"])
        case "error":
            return f"{output['ename']}: {output['evalue']}"
    return str(output["data"]["text/plain"])


def execute_action(code: str) -> dict[str, str]:
    """Build the action that executes a cell, in its JSON form."""
    return {"kind": "execute_code", "code": code}


async def end_all(*episodes: Episode) -> None:
    """End some episodes."""
    for episode in episodes:
        await episode.end()


def container_ids(*, stopped: bool = False) -> set[str]:
    """Return the IDs of this process's running containers; with `stopped`, of all of them."""
    client = engine.connect()
    filters = {"label": f"kernel-env.owner={owner()}"}
    containers = client.containers.list(all=stopped, filters=filters, ignore_removed=True)
    client.close()
    return {container.id for container in containers}


# ── an episode in a process of its own ────────────────────────────────────────────────────

SLOW_ACTIONS = [
    {"kind": "execute_code", "code": "x = 1"},
    {"kind": "execute_code", "code": "import time; time.sleep(60)"},
]
"""One short cell, then one that sleeps until a test ends it."""


@dataclass
class ScriptedRun:
    """A `kernel-env run` in a process, and the journal of its episode."""

    process: subprocess.Popen[str]
    journal: Path

    def containers(self) -> list[Any]:
        """Return the run's containers, stopped ones included."""
        return containers_of(self.process)


def containers_of(process: subprocess.Popen[str]) -> list[Any]:
    """Return the containers of another process, stopped ones included."""
    client = engine.connect()
    filters = {"label": f"kernel-env.owner={owner().partition(':')[0]}:{process.pid}"}
    found: list[Any] = client.containers.list(all=True, filters=filters, ignore_removed=True)
    client.close()
    return found


def start_slow_run(task: str, sandbox: str, folder: Path) -> ScriptedRun:
    """Start an episode with `SLOW_ACTIONS`; return once its second cell runs."""
    script = folder / "slow.json"
    script.write_text(json.dumps(SLOW_ACTIONS))
    options: Sequence[object] = (
        *("--agent", "scripted", "--script", script),
        *("--sandbox", sandbox, "--out", folder / "runs"),
    )
    argv = [sys.executable, "-m", "kernel_env.cli", "run", task, *map(str, options)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        journals = list((folder / "runs").glob("*/*/journal.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n") >= 2:
            time.sleep(0.3)
            return ScriptedRun(process, journals[0])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the run took no step: {process.communicate()[1]}")
