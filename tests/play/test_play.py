"""A person plays an episode as its agent: same rules, same record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nbformat
import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient

from kernel_env.episode import EpisodeConfig
from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.errors import TaskError
from kernel_env.play import Session, open_session
from kernel_env.play.notebook import FUNCTIONS, write_notebook
from support.episodes import DEFINE_SUBMIT, PRIVATE_RMSE
from support.files import replace_text
from support.jupyter_clients import client_at, run


@asynccontextmanager
async def playing(
    task: str, out: Path, **budget: float
) -> AsyncIterator[tuple[Session, AsyncKernelClient]]:
    """Play a task with a Jupyter client."""
    config = EpisodeConfig(task=task, sandbox="local", out=out, budget=budget, agent="human")
    async with open_session(config) as session, client_at(session.connection_file) as client:
        yield session, client


async def test_a_person_plays_under_the_rules_of_an_agent(tiny: str, tmp_path: Path) -> None:
    async with playing(tiny, tmp_path, steps=5) as (session, client):
        first = (await run(client, DEFINE_SUBMIT + "submit(2)")).text
        budget = (await run(client, "%budget")).text
        await run(client, "table = test.assign(y=3 * test.x)[['id', 'y']]")
        submitted = (await run(client, "%submit table")).text
        latest = (await run(client, "%submit")).text
        task = (await run(client, "%task name")).text
        history = (await run(client, "%history 1")).text
        refused = await run(client, "1")
        wrong = (await run(client, "%history many")).reply
    episode = session.episode

    assert "Submission graded: public score 1.0" in first
    assert "4 steps and" in first
    assert "4 steps and" in budget
    assert "Submission graded: public score 0.088" in submitted
    assert "Step 3:\nSubmission graded" in latest
    assert task.startswith("Tiny\n")
    assert "step 4: request_info" in history
    assert refused.reply["ename"] == "EpisodeOver"
    assert "5 steps is used up" in refused.text
    assert wrong["ename"] == "UsageError"
    result = episode.result
    assert result is not None
    assert (result.agent, result.steps, result.human_steps) == ("human", 5, 0)
    assert result.status == "budget"
    assert result.private_score == pytest.approx(PRIVATE_RMSE, abs=0.001)
    recorded = read_journal(episode.folder / JOURNAL)
    assert [step.action.kind for step in recorded.steps] == [
        *["execute_code"] * 3,
        *("request_info", "get_history"),
    ]
    assert episode.notebook.is_file()


async def test_the_notebook_has_functions_beside_the_magics(tiny: str, tmp_path: Path) -> None:
    async with playing(tiny, tmp_path) as (session, client):
        path = write_notebook(session.episode, {"name": "x", "display_name": "X"})
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert any(cell.source == FUNCTIONS for cell in notebook.cells)
        await run(client, FUNCTIONS)
        budget = (await run(client, "budget()")).text
        task = (await run(client, "task('name')")).text
        wrong = (await run(client, "history('many')")).text
        submit = "import pandas as pd; test = pd.read_csv(DATA + '/test.csv')\nsubmit(test.assign(y=3 * test.x)[['id', 'y']])"
        submitted = (await run(client, submit)).text

    rules = notebook.cells[0].source
    assert "30 steps" in rules
    assert "submission.csv" in rules
    assert "public score" in budget
    assert "28 steps" in budget
    assert "Tiny" in task
    assert "history" in wrong
    assert "Submission graded: public score 0.088" in submitted


async def test_restart_is_a_reset_and_shutting_down_ends_the_episode(
    tiny: str, tmp_path: Path
) -> None:
    async with playing(tiny, tmp_path) as (session, client):
        await run(client, "import time; x = 1")
        running = asyncio.create_task(run(client, "time.sleep(60)"))
        await asyncio.sleep(0.3)
        client.shutdown(restart=True)
        await running
        text = (await run(client, "'x' in globals()")).text
        client.shutdown()
        await asyncio.wait_for(session.wait(), 10)

    assert text.startswith("False")
    kinds = [step.action.kind for step in session.episode.steps]
    assert kinds == ["execute_code", "execute_code", "reset", "execute_code"]
    assert session.episode.result is not None
    assert session.episode.result.status == "finished"


async def test_a_metric_that_fails_ends_the_episode_as_for_agents(
    task_folder: Path, tmp_path: Path
) -> None:
    replace_text(
        task_folder / "task.toml", 'name = "rmse"', 'name = "grade.py"\nhigher_is_better = false'
    )
    (task_folder / "grade.py").write_text(
        "def grade(answers, submission):\n    raise KeyError('oops')\n"
    )

    sessions, replies = [], []

    async def play() -> None:
        async with playing(str(task_folder), tmp_path / "runs") as (session, client):
            sessions.append(session)
            replies.append((await run(client, DEFINE_SUBMIT + "submit(2)")).reply)
            await asyncio.wait_for(session.wait(), 10)

    with pytest.raises(TaskError, match="the metric failed"):
        await play()

    assert replies[0]["ename"] == "TaskError"
    result = sessions[0].episode.result
    assert result is not None
    assert result.status == "task_failed"
