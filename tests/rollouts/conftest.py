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
