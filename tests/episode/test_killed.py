"""Whenever the process of an episode is killed, what it acknowledged can be read."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from kernel_env.episode import chain
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.reading import read_trajectory

PROGRAM = """
import asyncio, sys
from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode

async def main():
    async with open_episode(sys.argv[1], sandbox="local", out=sys.argv[2], budget={"steps": 10**6}) as episode:
        print(episode.folder, flush=True)
        for number in range(100_000):
            await episode.act(ExecuteCode(code=f"print('x' * 10_000); x = {number}"))
            print(number + 1, flush=True)

asyncio.run(main())
"""


def killed_episode(task: str, out: Path, after_s: float) -> tuple[Path, int]:
    """Run an episode, kill its process some time after its first step.

    Returns its folder, and the number of steps that it acknowledged.
    """
    folder = tempfile.mkdtemp()  # short: the path of a socket has about 100 characters
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, task, str(out)],
        env={**os.environ, "TMPDIR": folder},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    episode = Path(process.stdout.readline().strip())
    process.stdout.readline()
    time.sleep(after_s)
    process.kill()
    lines = process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    shutil.rmtree(folder)
    return episode, int(lines[-1]) if lines else 1


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_every_acknowledged_step_is_read(tiny: str, tmp_path: Path, times: int) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for _ in range(times):
        folder, acknowledged = killed_episode(tiny, tmp_path, moments.uniform(0, 0.3))

        trajectory = read_trajectory(folder)

        assert acknowledged <= len(trajectory.steps) <= acknowledged + 1, seed
        assert trajectory.ending is None
        assert chain.first_difference(trajectory) is None
        notebook = nbformat.reads(nbformat.writes(render(trajectory)), as_version=4)
        nbformat.validate(notebook)
        assert list(parse_notebook(notebook).steps) == list(trajectory.steps)
