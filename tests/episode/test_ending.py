"""However an episode ends, its journal and notebook are complete and its sandbox is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import write_notebook
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from support.episodes import PRIVATE_RMSE, SUBMIT_LINE, OpenTiny, execute, start_slow_run


async def test_the_private_score_appears_only_in_the_ending(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, SUBMIT_LINE)
        await execute(episode, "submit(2)")
        assert b'"private_score": 0.' not in (episode.folder / "journal.jsonl").read_bytes()

    ending, result = episode.steps.ending, episode.result
    assert ending is not None
    assert result is not None
    assert ending.chosen_step == 1
    assert result.private_score == pytest.approx(PRIVATE_RMSE, abs=0.0001)
    assert json.loads((episode.folder / "record.json").read_text()) == result.json()


async def test_names_of_version_0_1_are_aliases(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        assert episode.rules is episode.setup
        assert episode.result is episode.record is None

    assert episode.result is not None
    assert episode.record == episode.result


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_sandbox_and_completes_the_notebook(
    tiny: str, sandbox: str, number: signal.Signals, tmp_path: Path
) -> None:
    run = start_slow_run(tiny, sandbox, tmp_path)

    run.process.send_signal(number)
    _, messages = run.process.communicate(timeout=60)

    notebook = run.journal.with_name("trajectory.ipynb")
    assert run.process.returncode == 130
    assert messages.strip().splitlines()[-1] == "error: interrupted"
    assert str(notebook) in messages
    assert "Traceback" not in messages
    trajectory = parse_notebook(read_notebook(notebook))
    assert len(trajectory.steps) == 1
    assert trajectory.ending is not None
    assert trajectory.ending.status == "interrupted"
    if sandbox == "docker":
        assert run.containers() == []


@pytest.mark.docker
def test_the_container_ends_and_the_journal_is_complete_when_the_host_process_is_killed(
    tiny: str, tmp_path: Path
) -> None:
    run = start_slow_run(tiny, "docker", tmp_path)

    run.process.kill()
    run.process.communicate()

    for _ in range(100):
        if not (containers := run.containers()):
            break
        time.sleep(0.1)
    assert containers == []
    trajectory = read_journal(run.journal)
    assert len(trajectory.steps) == 1
    write_notebook(trajectory, tmp_path / "rendered.ipynb")
    argv = [sys.executable, "-m", "kernel_env.cli", "doctor", "--clean"]
    subprocess.run(argv, check=True, capture_output=True)  # SIGKILL left no time for the folders
    assert not list(Path(os.environ["TMPDIR"]).glob(f"kernel-env-{run.process.pid}-*"))
