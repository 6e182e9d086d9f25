"""skyrl-gym registers, makes and steps an episode by the raw text of a model."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import skyrl_gym

from kernel_env.errors import UsageError
from support.guides import guide_blocks
from support.openai_episodes import SOLVE

pytestmark = pytest.mark.frameworks
NAME = "kernel"


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    """Register the environment as the guide says."""
    (code,) = (block for block in guide_blocks("frameworks") if "skyrl_gym" in block)
    exec(code, {})


def make(tiny: str, out: Path, **options: Any) -> Any:
    config = {"sandbox": "local", "out": str(out), "reward": "final", **options}
    return skyrl_gym.make(NAME, env_config=config, extras={"kernel_task": tiny})


def fenced(code: str) -> str:
    return f"I think.\n```python\n{code}\n```"


def test_an_episode_is_played_by_text(tiny: str, tmp_path: Path) -> None:
    env = make(tiny, tmp_path, max_turns=6)
    prompt, info = env.init([{"role": "user", "content": "Solve it."}])
    call = {"name": "execute_code", "arguments": {"code": "x = 41"}}
    seen = [
        env.step(f"<tool_call>{json.dumps(call)}</tool_call>"),
        env.step(fenced("x + 1")),
        env.step("I do not know."),
        env.step(fenced(SOLVE)),
        env.step("DONE"),
    ]
    metrics = env.get_metrics()
    env.close()
    env.close()

    assert [message["role"] for message in prompt] == ["system", "user"]
    assert prompt[1]["content"].startswith("Solve it.\n\n# Tiny")
    texts = [each["metadata"]["text"] for each in seen]
    assert "42" in texts[1]
    assert texts[2].startswith("error: your answer contains no action")
    assert "public score" in texts[3]
    assert [each["done"] for each in seen] == [False] * 4 + [True]
    assert [each["reward"] for each in seen[:4]] == [0.0] * 4
    assert seen[4]["reward"] > 0.5
    assert metrics["submissions"] == 1
    assert list(tmp_path.rglob(f"{info['episode']}/record.json"))


def test_the_last_turn_ends_the_episode(tiny: str, tmp_path: Path) -> None:
    env = make(tiny, tmp_path, max_turns=1)
    env.init([{"role": "user", "content": ""}])

    done = env.step(fenced(SOLVE))

    assert done["done"]
    assert done["reward"] > 0.5


def test_environments_are_stepped_in_threads(tiny: str, tmp_path: Path) -> None:
    environments = [make(tiny, tmp_path) for _ in range(3)]

    def play(number: int) -> str:
        environments[number].init([{"role": "user", "content": ""}])
        environments[number].step(fenced(f"x = {number}"))
        text = environments[number].step(fenced("x"))["metadata"]["text"]
        environments[number].close()
        return str(text.splitlines()[0])

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(play, range(3))) == ["0", "1", "2"]


def test_what_is_wrong_is_an_error(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the row has no kernel_task"):
        skyrl_gym.make(NAME, env_config={}, extras={})
    with pytest.raises(UsageError, match="there is no episode; call init first"):
        make(tiny, tmp_path).step("1")
    with pytest.raises(UsageError, match="no-such-image"):
        make(tiny, tmp_path, sandbox="docker", image="no-such-image").init([])
