from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from kernel_env.bench.scripted_model import ScriptedModel, serve
from kernel_env.grading.host import Grader
from support.tree_search import SCRIPT


@pytest.fixture(autouse=True)
def clean_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what a client reads."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A server with the scripted model."""
    with serve(SCRIPT) as model:
        yield model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for a file."""
    async with Grader() as grader:
        yield grader
