from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kernel_env.grading.host import Grader
from kernel_env.rollouts import Rollout
from support.rollouts import OpenRollout


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for a file."""
    async with Grader() as shared:
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pristine(
    tiny: str, grader: Grader, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rollout]:
    """A rollout with the reward `final` and no step; forks of it start at once."""
    out = tmp_path_factory.mktemp("runs")
    rollout = await Rollout.open(tiny, sandbox="local", out=out, grader=grader, reward="final")
    yield rollout
    await rollout.close()


@pytest.fixture
async def rollout(pristine: Rollout) -> AsyncIterator[Rollout]:
    """A fork of the pristine rollout."""
    (fork,) = await pristine.fork()
    yield fork
    await fork.close()


@pytest.fixture
async def open_rollout(tiny: str, grader: Grader, tmp_path: Path) -> AsyncIterator[OpenRollout]:
    """A function that begins a rollout of the tiny task, which ends with the test."""
    opened: list[Rollout] = []

    async def open_one(**options: Any) -> Rollout:
        options = {"sandbox": "local", "out": tmp_path, "grader": grader, **options}
        opened.append(await Rollout.open(tiny, **options))
        return opened[-1]

    yield open_one
    for rollout in opened:
        await rollout.close()
