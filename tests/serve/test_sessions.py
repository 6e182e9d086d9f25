"""Sessions: limited in number, time and memory; a handle of no session gets a clear sentence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.errors import NoSession, ServerFull, UnknownName, UsageError
from kernel_env.serve.offer import offer_of
from kernel_env.serve.sessions import Session, Sessions
from support.serving import SLEEP, offer_tiny, open_sessions, wait_until_busy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sessions]:
    """A registry with room for three episodes, but for the memory of one container."""
    offer = offer_tiny(tiny, tmp_path_factory.mktemp("runs"), budget={"steps": 20})
    memory_gb = offer.config("tiny").load_task().file.limits.memory_gb
    async with open_sessions(offer, sessions=3, memory_gb=1.5 * memory_gb) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(sessions: Sessions) -> Session:
    """A session that no test closes."""
    return await sessions.open("tiny", seed=3)


@pytest_asyncio.fixture(loop_scope="module")
async def fork(sessions: Sessions, session: Session) -> AsyncIterator[Session]:
    """A fork of it, which a test can close."""
    (forked,) = await sessions.fork(session.handle)
    yield forked
    if forked in sessions.live:
        await sessions.close(forked.handle)


async def test_a_session_keeps_its_kernel_between_calls(
    sessions: Sessions, session: Session
) -> None:
    await sessions.call(session.handle, "execute_code", {"code": "x = 41"})

    turn = await sessions.call(session.handle, "execute_code", {"code": "x + 1"})

    assert "42" in turn.text
    assert session.rollout.episode.setup.config.seed == 3
    assert len(session.handle) >= 32
    assert session.handle not in session.rollout.prompt


async def test_a_handle_of_no_session_gets_one_clear_sentence(
    sessions: Sessions, fork: Session
) -> None:
    await sessions.close(fork.handle)

    for handle, message in (
        ("", "no episode has this handle; open one, and use the handle that comes back"),
        (fork.handle[:-1], "no episode has this handle"),
        (fork.rollout.id, "no episode has this handle"),
        (fork.handle, "the episode has ended: its client closed it; open another one"),
    ):
        with pytest.raises(NoSession) as raised:
            await sessions.call(handle, "reset", {})
        assert message in str(raised.value)
        for attempt in (sessions.fork(handle), sessions.close(handle), sessions.hold(handle)):
            with pytest.raises(NoSession):
                await attempt


async def test_there_is_room_for_so_many_sessions_and_so_much_memory(
    sessions: Sessions, session: Session, fork: Session
) -> None:
    with pytest.raises(ServerFull) as no_place:
        await sessions.fork(session.handle, 2)
    with pytest.raises(ServerFull) as no_memory:
        await sessions.open("tiny")
    await sessions.call(fork.handle, "finish", {})  # an episode that is over needs no room
    for each in await sessions.fork(session.handle, 2):
        await sessions.close(each.handle)

    gigabytes = session.memory_gb
    assert str(no_place.value) == (
        "2 of 3 episodes are open; close one, or wait until one ends by itself, 600 s after its"
        " last call"
    )
    assert f"the episode needs {gigabytes:g} GiB of memory, and {gigabytes:g} of" in str(
        no_memory.value
    ), "forks share the memory of a container"


async def test_a_session_that_nobody_calls_ends(tiny: str, tmp_path: Path) -> None:
    async with open_sessions(offer_tiny(tiny, tmp_path), idle_s=0.3) as sessions:
        session = await sessions.open("tiny")
        code = "import time\ntime.sleep(1)"
        turn = await sessions.call(session.handle, "execute_code", {"code": code})
        assert turn.error == "", "a session with a call is not idle"
        reason = await sessions.hold(session.handle)

        with pytest.raises(NoSession) as raised:
            sessions.find(session.handle)

    assert reason == "nobody called it for 0.3 s"
    assert "the episode has ended: nobody called it for 0.3 s" in str(raised.value)
    assert session.rollout.result is not None


async def test_a_call_that_is_given_up_interrupts_the_cell(
    sessions: Sessions, session: Session
) -> None:
    await sessions.call(session.handle, "execute_code", {"code": "x = 1"})
    call = asyncio.create_task(sessions.call(session.handle, "execute_code", SLEEP))
    await wait_until_busy(session)
    waiting = asyncio.create_task(
        sessions.call(session.handle, "execute_code", {"code": "x = 'not executed'"})
    )
    await asyncio.sleep(0)

    waiting.cancel()
    call.cancel()
    await asyncio.wait({call, waiting})
    turn = await sessions.call(session.handle, "execute_code", {"code": "x + 1"})
    history = await sessions.call(session.handle, "get_history", {})

    assert "2" in turn.text.splitlines()[0]
    assert "KeyboardInterrupt" in history.text
    assert "not executed" not in history.text


async def test_a_trial_that_is_given_up_ends(sessions: Sessions, session: Session) -> None:
    await sessions.call(session.handle, "execute_code", {"code": "x = 1"})
    steps = len(session.rollout.episode.steps)
    call = asyncio.create_task(sessions.call(session.handle, "validate_code", SLEEP))
    await asyncio.sleep(0.5)

    call.cancel()
    await asyncio.wait({call})
    turn = await sessions.call(session.handle, "execute_code", {"code": "x + 1"})

    assert "2" in turn.text.splitlines()[0]
    assert len(session.rollout.episode.steps) == steps + 1


async def test_closing_a_session_interrupts_its_cell(sessions: Sessions, fork: Session) -> None:
    call = asyncio.create_task(sessions.call(fork.handle, "execute_code", SLEEP))
    await wait_until_busy(fork)
    waiting = asyncio.create_task(sessions.call(fork.handle, "reset", {}))
    await asyncio.sleep(0)

    await sessions.close(fork.handle)

    assert (await call).error.startswith("KeyboardInterrupt")
    with pytest.raises(NoSession):
        await waiting


async def test_a_held_session_ends_with_its_holder(sessions: Sessions, fork: Session) -> None:
    holder = asyncio.create_task(sessions.hold(fork.handle))
    await asyncio.sleep(0)

    holder.cancel()
    await fork.ended.wait()

    with pytest.raises(NoSession) as raised:
        sessions.find(fork.handle)
    assert "its client has gone" in str(raised.value)


async def test_a_client_selects_only_what_is_offered(sessions: Sessions) -> None:
    with pytest.raises(UnknownName) as raised:
        await sessions.open("tinny")
    assert "no task named 'tinny'; did you mean 'tiny'?" in str(raised.value)
    with pytest.raises(UnknownName):
        await sessions.open("/etc")
    for budget, message in (
        ({"steps": 21}, "the budget's steps can be at most 20 on this server; 21 was requested"),
        ({"steps": 0}, "the budget's steps is 0; it must be a positive whole number"),
        ({"stepps": 1}, "no limit of a budget named 'stepps'; did you mean 'steps'?"),
        ({"seconds": float("nan")}, "the budget's seconds is nan"),
    ):
        with pytest.raises(UsageError) as refused:
            await sessions.open("tiny", budget=budget)
        assert message in str(refused.value)

    config = sessions.offer.config("tiny", budget={"steps": 2, "tokens": 100})

    assert config.budget == {"steps": 2, "tokens": 100}


def test_an_offer_is_checked_before_anything_starts(tiny: str) -> None:
    with pytest.raises(UsageError, match="no task named 'tinny'"):
        offer_of(["tinny"])
    with pytest.raises(UsageError, match="no reward named 'postion'"):
        offer_of([tiny], sandbox="local", reward="postion")
    with pytest.raises(UsageError, match="observation_chars is 3"):
        offer_of([tiny], sandbox="local", observation_chars=3)
