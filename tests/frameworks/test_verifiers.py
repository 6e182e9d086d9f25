"""verifiers plays episodes with its own agent, interception and scoring."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import verifiers.v1 as vf

from kernel_env.adapters.verifiers import KernelTaskset, KernelTasksetConfig
from support.chat_server import KEY, ChatServer, run_chat_server, text_answer, tool_answer
from support.guides import guide_blocks
from support.openai_episodes import SOLVE, cell

pytestmark = pytest.mark.frameworks


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A model that answers from a script."""
    with run_chat_server() as running:
        yield running


@pytest.fixture
def config(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> vf.AgentConfig:
    """An agent with our harness, found by a module of one line."""
    (tmp_path / "my_tasks.py").write_text(
        "from kernel_env.adapters.verifiers import KernelHarness, KernelTaskset, __all__\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MODEL_KEY", KEY)
    client = {"type": "eval", "base_url": server.url, "api_key_var": "MODEL_KEY"}
    return vf.AgentConfig(
        harness={"id": "my_tasks"},
        runtime=vf.SubprocessConfig(),
        model="scripted",
        client=client,
    )


def task_of(tiny: str, out: Path, **options: Any) -> Any:
    given = {"sandbox": "local", "out": str(out), "reward": "final", **options}
    taskset = KernelTaskset(KernelTasksetConfig(id="my_tasks", tasks=[tiny], options=given))
    (task,) = list(taskset)
    return task


async def test_a_rollout_is_played_and_scored(
    config: vf.AgentConfig, server: ChatServer, tiny: str, tmp_path: Path
) -> None:
    server.script = [
        tool_answer(("execute_cod", "{}")),
        tool_answer(cell(SOLVE), content="I draw a line."),
        text_answer("That is all."),
    ]

    trace = await vf.Agent(config).run(task_of(tiny, tmp_path / "runs"))

    assert trace.ok, trace.errors
    assert trace.reward > 0.5
    assert trace.info["kernel_env"]["reward"] == trace.reward
    assert server.faults == []
    assert "no action of kind 'execute_cod'" in server.sent_texts[2]
    assert "public score" in server.sent_texts[4]
    record = next((tmp_path / "runs").rglob("record.json"))
    assert record.parent.name == trace.info["kernel_env"]["episode"]


async def test_a_failure_of_the_machine_leaves_a_rollout_unscored(
    config: vf.AgentConfig, server: ChatServer, tiny: str, tmp_path: Path
) -> None:
    task = task_of(tiny, tmp_path / "runs", sandbox="docker", image="no-such-image")

    trace = await vf.Agent(config).run(task)

    assert not trace.ok
    assert "no-such-image" in str(trace.errors[0])
    assert server.requests == []


def test_the_guide(server: ChatServer, tmp_path: Path) -> None:
    server.script = [tool_answer(cell("6 * 7"))]
    module, code = (block for block in guide_blocks("frameworks") if "adapters.verifiers" in block)
    (tmp_path / "my_tasks.py").write_text(module)
    code = code.replace("https://api.openai.com/v1", server.url).replace(
        'tasks=["adult-income"]', 'tasks=["adult-income"], options={"sandbox": "local"}'
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.0 ")
