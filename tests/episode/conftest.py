from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.episode import Episode, open_episode
from kernel_env.grading.host import Grader
from support.episodes import OpenTiny


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for a file: its imports take longer than the start of a kernel."""
    async with Grader() as shared:
        yield shared


@pytest.fixture
def open_tiny(tiny: str, tmp_path: Path, grader: Grader) -> OpenTiny:
    """A function that opens an episode of the tiny task, graded by the shared process."""
    return partial(open_episode, tiny, out=tmp_path, grader=grader)


@pytest.fixture
async def episode(open_tiny: OpenTiny, sandbox: str) -> AsyncIterator[Episode]:
    """An episode of the tiny task in each sandbox."""
    async with open_tiny(sandbox=sandbox) as opened:
        yield opened
