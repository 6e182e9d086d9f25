"""However an episode ends, its journal and notebook are complete and its sandbox is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel_env.episode import open_episode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import write_notebook
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.step import Rejected
from kernel_env.episode.write_ending import IncompleteRecordWarning
from kernel_env.errors import TaskError
from support.episodes import PRIVATE_RMSE, SUBMIT_LINE, OpenTiny, execute, start_slow_run
from support.files import replace_text


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


ONE_PRIVATE_ROW = """
guess = 3 * test.x
guess[test.id == test.id.iloc[1]] = 1e200  # every third row is public, from the first
test.assign(y=guess)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""


async def test_what_only_the_private_half_cannot_score_is_rejected_at_once(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, SUBMIT_LINE.replace("submit(3)", "submit(2)"))
        outcome = await execute(episode, ONE_PRIVATE_ROW)

    assert isinstance(outcome.submission, Rejected)
    assert "rmse of these predictions is inf" in outcome.submission.reason
    ending, result = episode.steps.ending, episode.result
    assert ending is not None
    assert result is not None
    assert (ending.status, ending.chosen_step, result.refusals) == ("finished", 1, 1)
    assert result.private_score == pytest.approx(1, abs=0.2)
    assert (episode.folder / "record.json").is_file()


@pytest.mark.parametrize("name", ["record.json", "trajectory.ipynb", "journal.jsonl"])
async def test_a_file_that_cannot_be_written_at_the_end_is_a_warning(
    open_tiny: OpenTiny, name: str
) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, SUBMIT_LINE)
        if name == "journal.jsonl":
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, episode.steps._file.fileno())
            os.close(full)
        else:
            (episode.folder / name).mkdir()
        with pytest.warns(IncompleteRecordWarning, match=name):
            await episode.end()

    ending, result = episode.steps.ending, episode.result
    assert ending is not None
    assert result is not None
    assert result.private_score == pytest.approx(PRIVATE_RMSE, abs=0.0001)
    others = {"record.json", "trajectory.ipynb"} - {name}
    assert all((episode.folder / other).is_file() for other in others)


async def test_a_failing_task_keeps_the_best_submission_before_it(
    task_folder: Path, tmp_path: Path
) -> None:
    replace_text(
        task_folder / "task.toml", 'name = "rmse"', 'name = "grade.py"\nhigher_is_better = false'
    )
    works = "def grade(a, s):\n    return float(((a.y - s.y) ** 2).mean() ** 0.5)\n"
    (task_folder / "grade.py").write_text(works)

    fails = "def grade(a, s):\n    raise KeyError('oops')\n"
    episodes = []

    async def play() -> None:
        async with open_episode(str(task_folder), sandbox="local", out=tmp_path) as episode:
            episodes.append(episode)
            await execute(episode, SUBMIT_LINE)
            (task_folder / "grade.py").write_text(fails)
            await execute(episode, "submit(2)")

    with pytest.raises(TaskError, match="the metric failed: KeyError"):
        await play()

    result = episodes[0].result
    assert result is not None
    assert result.status == "task_failed"
    assert result.private_score == pytest.approx(PRIVATE_RMSE, abs=0.0001)


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
