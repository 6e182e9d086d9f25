from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode, RequestInfo, ValidateCode
from support.episodes import DEFINE_SUBMIT, end_all
from support.exports import Family


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def family(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Family]:
    """An episode with a person in it, and two forks after its second step."""
    out, seen = tmp_path_factory.mktemp("family"), {}
    async with open_episode(tiny, sandbox="local", out=out, budget={"steps": 9}) as root:
        root.note("instructions", "You are an engineer.")
        texts = seen[root.setup.header.episode] = []
        for action, thought in (
            (RequestInfo(info_type="name"), "What is it?"),
            (ExecuteCode(code=DEFINE_SUBMIT), "Define it."),
        ):
            await root.act(action, thought=thought)
            texts.append(root.observation.text)
        one, two = await root.fork(2)
        await root.act(ExecuteCode(code="helped = 'ünï'"), actor="human")
        for action in (ValidateCode(code="1 / 0"), ExecuteCode(code="print(helped); submit(3)")):
            await root.act(action)
            texts.append(root.observation.text)
        for fork, slope in ((one, 2), (two, 0)):
            await fork.act(ExecuteCode(code=f"submit({slope})"), thought=f"Slope {slope}.")
            seen[fork.setup.header.episode] = [fork.observation.text]
        root.note("last_words", "I am done.")
        await end_all(one, two)
    yield Family(root=out, seen=seen, ids=tuple(seen))  # type: ignore[arg-type]
