from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kernel_env.agents import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.episode.result import EpisodeResult
from kernel_env.grading.host import Grader
from kernel_env.runner import Plan, run_episode
from support.chat_server import KEY, ChatServer, run_chat_server
from support.openai_episodes import Play


@pytest.fixture(autouse=True)
def clean_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the key and unset every other variable that a client reads."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    """A server that answers from the test's script; at the end, no request was invalid."""
    with run_chat_server() as chat:
        yield chat
    assert chat.faults == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all tests, because its imports dominate the start of an episode."""
    async with Grader() as grader:
        yield grader


@pytest.fixture
def play(chat: ChatServer, grader: Grader, tiny: str, tmp_path: Path) -> Play:
    """A function that plays the tiny task with the scripted model."""

    async def run(
        budget: dict[str, float | None] | None = None,
        sandbox: str = "local",
        seed: int = 0,
        **options: Any,
    ) -> EpisodeResult:
        return await run_episode(
            Plan(
                config=EpisodeConfig(
                    task=tiny,
                    agent="openai",
                    sandbox=sandbox,
                    out=tmp_path / "runs",
                    budget=budget or {},
                    seed=seed,
                ),
                options=Options(**{"model": "scripted", "base_url": chat.url} | options),
            ),
            grader=grader,
        )

    return run
