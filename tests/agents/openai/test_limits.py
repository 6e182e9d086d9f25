"""The limit of requests to an endpoint adapts to its rate limit."""

import asyncio
import email.utils
import time

import pytest

from kernel_env.agents.openai.client import retry_after_s
from kernel_env.agents.openai.limits import COOL_DOWN_S, START, CallLimit, limit_of


async def call(limit: CallLimit, most: list[int]) -> None:
    """Do one request, and record how many run at once."""
    await limit.acquire()
    most.append(limit.running)
    await asyncio.sleep(0)
    limit.succeeded()
    limit.release()


async def test_the_limit_doubles_until_the_maximum() -> None:
    limit, running = CallLimit(50), list[int]()

    await asyncio.gather(*(call(limit, running) for _ in range(400)))

    assert running[:START] == [*range(1, START + 1)]
    assert max(running) == 50
    assert (limit.running, limit.allowed) == (0, 50)


async def test_a_rate_limit_reduces_it_once_and_successes_raise_it_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = CallLimit()
    for _ in range(5):
        limit.rate_limited()
    assert limit.allowed == START * 0.8

    await asyncio.gather(*(call(limit, []) for _ in range(16)))
    assert limit.allowed == START * 0.8 + 1

    after = time.monotonic() + COOL_DOWN_S
    monkeypatch.setattr(time, "monotonic", lambda: after)
    limit.rate_limited()
    assert limit.allowed == pytest.approx(17 * 0.8)


async def test_the_last_request_is_always_allowed() -> None:
    limit = CallLimit(1)
    limit.rate_limited()

    await asyncio.wait_for(asyncio.gather(*(call(limit, []) for _ in range(3))), 10)

    assert limit.running == 0


async def test_a_request_that_is_cancelled_lets_the_next_one_be_sent() -> None:
    limit = CallLimit(1)
    await limit.acquire()
    waiting = [asyncio.create_task(limit.acquire()) for _ in range(2)]
    await asyncio.sleep(0)

    limit.release()
    waiting[0].cancel()
    await asyncio.wait_for(waiting[1], 10)

    assert limit.running == 1
    assert waiting[0].cancelled()


async def test_agents_share_the_limit_of_an_endpoint() -> None:
    assert limit_of("http://a/v1", 4) is limit_of("http://a/v1", 4)
    assert limit_of("http://a/v1", 4) is not limit_of("http://b/v1", 4)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "-3"}, 0),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_the_pause_that_an_endpoint_asks_for(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds


def test_a_pause_until_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    assert 95 < (retry_after_s({"retry-after": date}) or 0) <= 100
