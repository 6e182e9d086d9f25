"""`kernel-env play` and `kernel-env attach`, as a person starts them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from support.cli import error_line, run_cli
from support.episodes import DEFINE_SUBMIT, PRIVATE_RMSE
from support.jupyter_clients import client_at, run
from support.v01 import run_main


@contextmanager
def start(*argv: object) -> Iterator[subprocess.Popen[str]]:
    """Start the command line, and end it in any case."""
    command = [sys.executable, "-m", "kernel_env.cli", *map(str, argv)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what a group matches in a line of the messages."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
        lines.append(line)
    raise AssertionError(f"{pattern!r} is not in the messages: {lines}")


async def test_a_person_plays_and_gets_the_result(tiny: str, tmp_path: Path) -> None:
    options = ("--sandbox", "local", "--out", tmp_path, "--no-lab", "--json")
    with start("play", tiny, *options) as process:
        file = Path(wait_for(process, r"^connect: jupyter console --existing (\S+)$"))
        async with client_at(file) as client:
            text = (await run(client, DEFINE_SUBMIT + "submit(3)")).text
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)

    assert "Submission graded" in text
    assert process.returncode == 0, err
    record = json.loads(out)
    assert (record["agent"], record["status"], record["steps"]) == ("human", "finished", 1)
    assert record["private_score"] == pytest.approx(PRIVATE_RMSE, abs=0.001)
    assert not file.exists()
    assert Path(record["notebook"]).is_file()


AGENT = """
import asyncio

class Waiting:
    model, trusted = "", True

    def __init__(self, options):
        pass

    async def play(self, episode):
        await episode.act({"kind": "execute_code", "code": "x = 41"})
        while not episode.progress.human_steps:
            await asyncio.sleep(0.05)
        await episode.act({"kind": "execute_code", "code": "x"})
"""
"""Waits between its steps until a person has taken one."""


async def test_a_person_watches_a_run_and_attaches_to_it(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    agent = f"{tmp_path / 'agent.py'}:Waiting"
    options = ("--agent", agent, "--sandbox", "local", "--out", tmp_path)
    with start("run", tiny, *options, "--watch", "--attach", "--json") as process:
        url = wait_for(process, r"^watch: (http://127\.0\.0\.1:\d+/[\w-]{43}/)$")
        folder = Path(wait_for(process, r"^attach: kernel-env attach (\S+)$"))
        shown = run_cli("attach", folder, "--no-lab")
        file = Path(shown.stdout.split()[-1])
        async with client_at(file) as client:
            await run(client, "x += 1")
        with urlopen(f"{url}{folder.name}/") as page:
            shown_steps = page.read().decode()
        out, err = process.communicate(timeout=30)

    record = json.loads(out)
    assert process.returncode == 0, err
    assert (record["steps"], record["human_steps"]) == (2, 1)
    assert "2 + 1 by people" in run_main("report", "--format", "list", folder)
    assert "Step 2" in shown_steps
    assert 'class="person"' in shown_steps
    with pytest.raises(URLError):
        urlopen(url)
    assert "42" in (folder / "trajectory.ipynb").read_text()
    assert "has ended (finished)" in error_line(run_cli("attach", folder))
    assert not file.exists()
