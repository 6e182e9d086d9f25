"""Inspect evaluates an agent on live kernels, with its own agent, log and clean-up."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval_async
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from kernel_env.adapters.inspect_sandbox import KernelSandbox, kernel_task
from kernel_env.errors import UsageError
from support.openai_episodes import SOLVE
from support.pictures import PNG

pytestmark = pytest.mark.frameworks


def says(*outputs: ModelOutput) -> Any:
    """A model that gives these outputs; their usage is set, because counting needs a network."""
    for output in outputs:
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return get_model("mockllm/model", custom_outputs=list(outputs))


def calls(name: str, **arguments: Any) -> ModelOutput:
    return ModelOutput.for_tool_call("mockllm/model", name, arguments)


async def evaluate(tiny: str, tmp_path: Path, model: Any, **options: Any) -> Any:
    task = kernel_task([tiny], sandbox="local", out=str(tmp_path / "runs"), **options)
    (log,) = await eval_async(task, model=model, log_dir=str(tmp_path / "logs"))
    return log


async def test_an_agent_is_evaluated_on_a_live_kernel(tiny: str, tmp_path: Path) -> None:
    model = says(
        calls("execute_code", code="x = 41"),
        calls("execute_code", code=f"x + 1\n{PNG}\nx + 1"),
        calls("request_info", info_type="nonsense"),
        calls("execute_code", code=SOLVE),
        calls("submit", answer="done"),
    )

    log = await evaluate(tiny, tmp_path, model)

    assert log.status == "success", log.error
    (sample,) = log.samples
    results = [message for message in sample.messages if message.role == "tool"]
    assert sample.messages[0].text.startswith("# Tiny") or "# Tiny" in sample.messages[1].text
    assert "42" in results[1].text
    assert any(part.type == "image" for part in results[1].content)
    assert results[2].error is not None
    assert "public score" in results[3].text
    assert sample.scores["private_place"].value > 0.5
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 1, "the sample ended its episode"


async def test_an_episode_that_the_machine_ended_fails_its_sample(
    tiny: str, tmp_path: Path
) -> None:
    log = await evaluate(tiny, tmp_path, says(calls("submit", answer="")), image="no-such-image")

    assert log.status == "error"
    assert "no-such-image" in log.error.message


async def test_programs_and_files_of_the_sandbox(tiny: str, tmp_path: Path) -> None:
    options = {"sandbox": "local", "out": str(tmp_path)}
    metadata = {"kernel_task": tiny, "kernel_options": options}
    environments = await KernelSandbox.sample_init("", None, metadata)
    container = environments["default"]

    await container.write_file("a/b.txt", "ä\n")
    read = await container.read_file("a/b.txt")
    done = await container.exec(
        ["sh", "-c", 'cat; echo "$NAME" $(basename "$PWD")'], input="in", cwd="a", env={"NAME": "n"}
    )
    failed = await container.exec(["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(TimeoutError):
        await container.exec(["sleep", "60"], timeout=1)
    with pytest.raises(FileNotFoundError):
        await container.read_file("nope")
    with pytest.raises(PermissionError, match="not as root"):
        await container.exec(["true"], user="root")
    await KernelSandbox.sample_cleanup("", None, environments, interrupted=True)

    assert read == "ä\n"
    assert done.stdout == "inn a\n"
    assert (failed.returncode, failed.stderr) == (3, "no\n")
    with pytest.raises(UsageError, match="the sample has no kernel_task"):
        await KernelSandbox.sample_init("", None, {})
