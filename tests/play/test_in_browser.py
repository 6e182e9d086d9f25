"""Play and attach through JupyterLab, in a headless browser."""

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.browser import Lab

pytestmark = pytest.mark.browser
SUBMIT = """
import pandas as pd
test = pd.read_csv(DATA + "/test.csv")
submit(test.assign(y=3 * test.x)[["id", "y"]])
"""
AGENT = """
import asyncio

class Waiting:
    model, trusted = "", True

    def __init__(self, options):
        pass

    async def play(self, episode):
        await episode.act({"kind": "execute_code", "code": "x = 41"})
        while episode.progress.human_steps < 2:
            await asyncio.sleep(0.05)
        await episode.act({"kind": "execute_code", "code": "x"})
"""
"""Waits between its steps until a person has taken two."""


class Started:
    """A command that runs, and what it printed."""

    def __init__(self, *argv: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kernel_env.cli", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, pattern: str) -> str:
        """Return what a group matches in a line."""
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            if found := re.search(pattern, line):
                return found[1]
            lines.append(line)
        raise AssertionError(f"{pattern!r} is not in the messages: {lines}")

    def interrupt(self) -> None:
        """Interrupt it, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> str:
        """Return what else it prints."""
        return self._process.communicate(timeout=60)[0]

    def kill(self) -> None:
        """End it in any case."""
        self._process.terminate()
        self._process.communicate(timeout=60)


@contextmanager
def started(*argv: object) -> Iterator[Started]:
    """Start a command, and end it in any case."""
    command = Started(*argv)
    try:
        yield command
    finally:
        command.kill()


@pytest.fixture
async def page(browser: Any) -> AsyncIterator[Any]:
    """A page of the browser."""
    opened = await browser.new_page(viewport={"width": 1200, "height": 900})
    yield opened
    await opened.close()


async def test_a_person_plays_in_jupyterlab(page: Any, tiny: str, tmp_path: Path) -> None:
    options = ("--sandbox", "local", "--out", tmp_path, "--no-browser")
    with started("play", tiny, *options) as play:
        lab = await Lab.load(page, play.wait_for(r"^open: (\S+)$"), tmp_path)
        await lab.run_all()
        submitted = await lab.append(SUBMIT)
        budget = await lab.append("%budget")
        asked = await lab.append("budget()")
        await lab.screenshot("play")
        play.interrupt()
        printed = play.end()

    assert "Submission graded: public score 0.088" in submitted
    assert "28 steps" in budget
    assert "27 steps" in asked
    assert "finished" in printed
    assert "trajectory.ipynb" in printed


async def test_a_person_attaches_in_jupyterlab(page: Any, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    agent = f"{tmp_path / 'agent.py'}:Waiting"
    options = ("--agent", agent, "--sandbox", "local", "--out", tmp_path, "--attach")
    with started("run", tiny, *options) as run:
        folder = run.wait_for(r"attach: kernel-env attach (\S+)$")
        with started("attach", folder, "--no-browser") as attach:
            lab = await Lab.load(page, attach.wait_for(r"^open: (\S+)$"), tmp_path)
            seen = await lab.append("x += 1; x")
            await lab.append("pass", wait=False)
            printed = run.end()
            await lab.screenshot("attach")

    assert seen == "42"
    assert "2 by people" in printed
