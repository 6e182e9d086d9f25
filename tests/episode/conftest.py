from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode


@pytest.fixture
async def episode(tiny: str, sandbox: str, tmp_path: Path) -> AsyncIterator[Episode]:
    """An episode of the tiny task in each sandbox."""
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path) as opened:
        yield opened
