"""Sessions: limited in number, time and memory; a handle of no session gets a clear sentence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.errors import NoSession, ServerFull, UnknownName, UsageError
from kernel_env.serve.offer import offer_of
from kernel_env.serve.sessions import Sessions
from support.serving import SLEEP, offer_tiny, open_sessions, wait_until_busy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sessions]:
    """A registry with room for two episodes of the tiny task."""
    offer = offer_tiny(tiny, tmp_path_factory.mktemp("runs"), budget={"steps": 9})
    async with open_sessions(offer, sessions=2) as opened:
        yield opened
        assert opened.live == [], "a test left a session open"


async def test_a_session_keeps_its_kernel_between_calls(sessions: Sessions) -> None:
    session = await sessions.open("tiny", seed=3)
    await sessions.call(session.handle, "execute_code", {"code": "x = 41"})

    turn = await sessions.call(session.handle, "execute_code", {"code": "x + 1"})
    await sessions.close(session.handle)

    assert "42" in turn.text
    assert session.rollout.result is not None
    assert session.rollout.result.seed == 3
    assert len(session.handle) >= 32
    assert session.handle not in session.rollout.prompt


async def test_a_handle_of_no_session_gets_one_clear_sentence(sessions: Sessions) -> None:
    session = await sessions.open("tiny")
    await sessions.close(session.handle)

    for handle, message in (
        ("", "no episode has this handle; open one, and use the handle that comes back"),
        (session.handle[:-1], "no episode has this handle"),
        (session.rollout.id, "no episode has this handle"),
        (session.handle, "the episode has ended: its client closed it; open another one"),
    ):
        with pytest.raises(NoSession) as raised:
            await sessions.call(handle, "reset", {})
        assert message in str(raised.value)
        for attempt in (sessions.fork(handle), sessions.close(handle), sessions.hold(handle)):
            with pytest.raises(NoSession):
                await attempt


async def test_there_is_room_for_so_many_sessions(sessions: Sessions) -> None:
    first = await sessions.open("tiny")
    second = (await sessions.fork(first.handle))[0]

    with pytest.raises(ServerFull) as raised:
        await sessions.open("tiny")
    with pytest.raises(ServerFull):
        await sessions.fork(first.handle)
    await sessions.call(first.handle, "finish", {})  # an episode that is over needs no room
    third = await sessions.open("tiny")
    await asyncio.gather(*(sessions.close(each.handle) for each in (first, second, third)))

    assert str(raised.value) == (
        "2 of 2 episodes are open; close one, or wait until one ends by itself, 600 s after its"
        " last call"
    )


async def test_forks_share_the_memory_of_a_container(tiny: str, tmp_path: Path) -> None:
    offer = offer_tiny(tiny, tmp_path)
    memory_gb = offer.config("tiny").load_task().file.limits.memory_gb
    async with open_sessions(offer, memory_gb=1.5 * memory_gb) as sessions:
        first = await sessions.open("tiny")
        await sessions.fork(first.handle, 2)
        with pytest.raises(ServerFull) as raised:
            await sessions.open("tiny")

    assert f"the episode needs {memory_gb:g} GiB of memory, and {memory_gb:g} of" in str(
        raised.value
    )


async def test_a_session_that_nobody_calls_ends(tiny: str, tmp_path: Path) -> None:
    async with open_sessions(offer_tiny(tiny, tmp_path), idle_s=0.3) as sessions:
        session = await sessions.open("tiny")
        turn = await sessions.call(
            session.handle, "execute_code", {"code": "import time\ntime.sleep(1)"}
        )
        assert turn.error == "", "a session with a call is not idle"
        reason = await sessions.hold(session.handle)

        with pytest.raises(NoSession) as raised:
            sessions.find(session.handle)

    assert reason == "nobody called it for 0.3 s"
    assert "the episode has ended: nobody called it for 0.3 s" in str(raised.value)
    assert session.rollout.result is not None


async def test_a_call_that_is_given_up_interrupts_the_cell(sessions: Sessions) -> None:
    session = await sessions.open("tiny")
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
    await sessions.close(session.handle)

    assert "2" in turn.text.splitlines()[0]
    assert "KeyboardInterrupt" in history.text
    assert "not executed" not in history.text


async def test_a_trial_that_is_given_up_ends(sessions: Sessions) -> None:
    session = await sessions.open("tiny")
    await sessions.call(session.handle, "execute_code", {"code": "x = 1"})
    call = asyncio.create_task(sessions.call(session.handle, "validate_code", SLEEP))
    await asyncio.sleep(1)

    call.cancel()
    await asyncio.wait({call})
    turn = await sessions.call(session.handle, "execute_code", {"code": "x + 1"})
    await sessions.close(session.handle)

    assert "2" in turn.text.splitlines()[0]
    assert len(session.rollout.episode.steps) == 2


async def test_closing_a_session_interrupts_its_cell(sessions: Sessions) -> None:
    session = await sessions.open("tiny")
    call = asyncio.create_task(sessions.call(session.handle, "execute_code", SLEEP))
    await wait_until_busy(session)
    waiting = asyncio.create_task(sessions.call(session.handle, "reset", {}))
    await asyncio.sleep(0)

    await sessions.close(session.handle)

    assert (await call).error.startswith("KeyboardInterrupt")
    with pytest.raises(NoSession):
        await waiting


async def test_a_held_session_ends_with_its_holder(sessions: Sessions) -> None:
    session = await sessions.open("tiny")
    holder = asyncio.create_task(sessions.hold(session.handle))
    await asyncio.sleep(0)

    holder.cancel()
    await session.ended.wait()

    with pytest.raises(NoSession) as raised:
        sessions.find(session.handle)
    assert "its client has gone" in str(raised.value)


async def test_a_client_selects_only_what_is_offered(sessions: Sessions) -> None:
    with pytest.raises(UnknownName) as raised:
        await sessions.open("tinny")
    assert "no task named 'tinny'; did you mean 'tiny'?" in str(raised.value)
    with pytest.raises(UnknownName):
        await sessions.open("/etc")
    for budget, message in (
        ({"steps": 10}, "the budget's steps can be at most 9 on this server; 10 was requested"),
        ({"steps": 0}, "the budget's steps is 0; it must be a positive whole number"),
        ({"stepps": 1}, "no limit of a budget named 'stepps'; did you mean 'steps'?"),
        ({"seconds": float("nan")}, "the budget's seconds is nan"),
    ):
        with pytest.raises(UsageError) as refused:
            await sessions.open("tiny", budget=budget)
        assert message in str(refused.value)

    session = await sessions.open("tiny", budget={"steps": 2, "tokens": 100})
    await sessions.close(session.handle)

    assert session.rollout.episode.setup.budget.steps == 2


def test_an_offer_is_checked_before_anything_starts(tiny: str) -> None:
    with pytest.raises(UsageError, match="no task named 'tinny'"):
        offer_of(["tinny"])
    with pytest.raises(UsageError, match="no reward named 'postion'"):
        offer_of([tiny], sandbox="local", reward="postion")
    with pytest.raises(UsageError, match="observation_chars is 3"):
        offer_of([tiny], sandbox="local", observation_chars=3)
