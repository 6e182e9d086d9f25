"""People use the live kernel of an episode through Jupyter clients; the agent continues."""

import asyncio
import stat
from collections.abc import AsyncIterator

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient

from kernel_env.episode import Episode
from kernel_env.episode.people import connection_file_of, find_served, serve
from kernel_env.errors import UsageError
from support.episodes import SUBMIT_LINE, OpenTiny, execute, execute_text
from support.jupyter_clients import client_at, run


@pytest.fixture
async def attached(open_tiny: OpenTiny) -> AsyncIterator[tuple[Episode, AsyncKernelClient]]:
    """An episode to which a client is attached."""
    async with open_tiny(sandbox="local", budget={"steps": 3}) as episode:
        await serve(episode)
        async with client_at(connection_file_of(episode.folder)) as client:
            yield episode, client


Attached = tuple[Episode, AsyncKernelClient]


async def test_a_cell_of_a_client_is_a_step_of_a_person(attached: Attached) -> None:
    episode, client = attached
    await execute(episode, "x = 20")

    ran = await run(client, "x += 1\nprint('hi'); x * 2")
    failed = await run(client, "1/0")
    value = await execute_text(episode, "x")
    empty = (await run(client, " ")).reply

    assert (ran.reply["status"], ran.text) == ("ok", "hi\n42")
    assert failed.reply["status"] == "error"
    assert "ZeroDivisionError" in failed.text
    assert value == "21"
    assert empty["status"] == "ok"
    assert [step.actor for step in episode.steps] == ["agent", "human", "human", "agent"]
    assert episode.spent.steps == 2
    assert "x += 1" in episode.observation.text


COMM = """
from comm import get_comm_manager
get_comm_manager().register_target("t", lambda comm, message: globals().update(changed=True))
"""


async def test_nothing_runs_but_steps(attached: Attached) -> None:
    episode, client = attached
    await run(client, COMM)

    content = {"comm_id": "1", "target_name": "t", "data": {}}
    client.shell_channel.send(client.session.msg("comm_open", content))
    ran = await run(client, "'changed' in globals()")

    assert ran.text == "False"
    assert len(episode.steps) == 2


async def test_a_person_sees_the_score_of_a_submission(attached: Attached) -> None:
    episode, client = attached

    text = (await run(client, SUBMIT_LINE)).text

    assert "Submission graded: public score 0.088" in text
    assert episode.progress.best is None


async def test_cells_wait_for_the_agent_and_can_be_interrupted(attached: Attached) -> None:
    episode, client = attached
    slow = asyncio.create_task(execute(episode, "import time\nfor _ in range(15): time.sleep(0.1)"))
    await asyncio.sleep(0.3)

    waiting = asyncio.create_task(run(client, "1"))
    await asyncio.sleep(0.3)
    client.control_channel.send(client.session.msg("interrupt_request", {}))
    waited = await waiting
    done = await slow
    running = asyncio.create_task(run(client, "time.sleep(30)"))
    await asyncio.sleep(0.5)
    client.control_channel.send(client.session.msg("interrupt_request", {}))
    interrupted = (await running).reply

    assert "waiting for the agent" in waited.text
    assert waited.reply["ename"] == "KeyboardInterrupt"
    assert done.cell.error is None, "the agent's cell is not interrupted"
    assert interrupted["ename"] == "KeyboardInterrupt"
    assert [step.actor for step in episode.steps] == ["agent", "human"]


async def test_the_file_and_the_sockets_end_with_the_episode(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        await serve(episode)
        file = connection_file_of(episode.folder)
        mode = stat.S_IMODE(file.stat().st_mode)
        assert find_served(episode.folder) == file
        content = file.read_bytes()
        async with client_at(file) as client:
            client.shutdown()
            await execute(episode, "x = 1")
            assert (await run(client, "x")).text == "1", "the kernel is the agent's"
            running = asyncio.create_task(run(client, "import time; time.sleep(60)"))
            await asyncio.sleep(0.3)
            await episode.end()
            reply = (await running).reply

    assert mode == 0o600
    assert not file.exists()
    with pytest.raises(UsageError, match=r"has ended \(finished\)"):
        find_served(episode.folder)
    with pytest.raises(UsageError, match="not the folder of an episode"):
        find_served(episode.folder.parent)
    cut = episode.folder / "journal.jsonl"
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(UsageError, match="not started with --attach"):
        find_served(episode.folder)
    for left in (content, b"{}"):
        file.write_bytes(left)
        with pytest.raises(UsageError, match="the process that ran it has ended"):
            find_served(episode.folder)
    assert reply["ename"] == "EpisodeOver"
    assert reply["evalue"] == "the episode ended during this action"
    assert [step.actor for step in episode.steps] == ["agent", "human"]
    assert episode.result is not None
    assert episode.result.status == "finished"
