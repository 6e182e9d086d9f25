"""Evaluate agents of Inspect AI on live kernels: a sandbox provider, its tools, and a scorer.

    from kernel_env.adapters.inspect_sandbox import kernel_task
    inspect_ai.eval(kernel_task(["adult-income"]), model="openai/gpt-4.1")

Each sample has an episode with a container of its own, which ends with the sample. The tools act in
the episode, so all that they do is in its journal. What other tools run in the container, by
`sandbox().exec`, is not: do not mix both where records matter. Inspect finds the provider, named
`kernel_env`, by an entry point. The extra `inspect` has the package.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kernel_env.episode import json_codec
from kernel_env.errors import UsageError, needs_extra
from kernel_env.rollouts import Rollout
from kernel_env.sandbox.protocol import WORKSPACE

with needs_extra(__name__, "inspect"):
    from inspect_ai import Task
    from inspect_ai.agent import react
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ContentImage, ContentText
    from inspect_ai.scorer import Score, Target, mean, scorer, stderr
    from inspect_ai.solver import TaskState, solver
    from inspect_ai.tool import ToolDef, ToolError, ToolParams
    from inspect_ai.util import ExecResult, SandboxEnvironment, sandbox, sandboxenv

NAME = "kernel_env"
MAX_BYTES = 10 * 1024 * 1024
"""The most bytes of a program's output, and of a file that is read."""
TIMEOUT_S = 600.0
"""Time limit of a program that sets none."""
RUN = 'cd "$1" && input="$2" && shift 2 && exec "$@" < "$input"'


@sandboxenv(name=NAME)
class KernelSandbox(SandboxEnvironment):
    """The container of an episode, for one sample."""

    def __init__(self, rollout: Rollout) -> None:
        super().__init__()
        self.rollout = rollout

    @classmethod
    async def sample_init(
        cls,
        task_name: str,  # noqa: ARG003
        config: Any,  # noqa: ARG003
        metadata: Mapping[str, Any],
    ) -> dict[str, SandboxEnvironment]:
        """Open the episode that a sample's metadata names."""
        if not isinstance(metadata.get("kernel_task"), str):
            raise UsageError("the sample has no kernel_task in its metadata; see kernel_task()")
        options = dict(metadata.get("kernel_options") or {})
        rollout = await Rollout.open(metadata["kernel_task"], agent="inspect", **options)
        return {"default": cls(rollout)}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,  # noqa: ARG003
        config: Any,  # noqa: ARG003
        environments: Mapping[str, SandboxEnvironment],
        interrupted: bool,  # noqa: ARG003
    ) -> None:
        """End the episode."""
        for environment in environments.values():
            await environment.as_type(cls).rollout.close()

    async def exec(
        self,
        cmd: Sequence[str],
        input: str | bytes | None = None,  # noqa: A002 - Inspect's name
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,  # noqa: ARG002 - a program is never run again
        concurrency: bool = True,  # noqa: ARG002
    ) -> ExecResult[str]:
        """Run a program beside the kernel. Raises `TimeoutError`, `SandboxError`."""
        if user not in (None, ""):
            raise PermissionError(f"programs run as the agent's user; not as {user}")
        container = self.rollout.episode.kernel.sandbox
        given = "/dev/null"
        if input is not None:
            path = WORKSPACE / ".inspect-input"
            await container.write(path, input.encode() if isinstance(input, str) else input)
            given = str(container.guest_path(path))
        folder = container.guest_path(path_of(cwd or "."))
        named = [f"{name}={value}" for name, value in (env or {}).items()]
        done = await container.run(
            ["/bin/sh", "-c", RUN, "sh", str(folder), given, "/usr/bin/env", *named, *cmd],
            timeout_s=float(timeout or TIMEOUT_S),
            limit_bytes=MAX_BYTES,
        )
        text = done.output.decode(errors="replace")
        code = done.exit_code
        return ExecResult(
            success=code == 0, returncode=code, stdout=text, stderr=text if code else ""
        )

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file. Raises `OSError`."""
        data = contents.encode() if isinstance(contents, str) else contents
        await self.rollout.episode.kernel.sandbox.write(path_of(file), data)

    async def read_file(self, file: str, text: bool = True) -> Any:
        """Read a file. Raises `FileNotFoundError`, `IsADirectoryError`, `OSError`."""
        data = await self.rollout.episode.kernel.read(path_of(file), limit_bytes=MAX_BYTES)
        return data.decode() if text else data


def path_of(file: str) -> PurePosixPath:
    """Return the path of a file, which can be relative to the workspace."""
    return WORKSPACE / file


def rollout_of_sample() -> Rollout:
    """Return the episode of the sample that runs."""
    found: Rollout = sandbox().as_type(KernelSandbox).rollout
    return found


def tools() -> list[Any]:
    """Return an agent's actions as tools of Inspect."""
    return [make_tool(name, schema) for name, schema in json_codec.schemas().items()]


def make_tool(name: str, schema: Mapping[str, Any]) -> Any:
    """Return an action as a tool. What an agent did wrong is a `ToolError`."""

    async def call(**arguments: Any) -> Any:
        turn = await rollout_of_sample().call(name, arguments)
        if turn.text == f"error: {turn.error}":
            raise ToolError(turn.error)
        images = [f"data:image/png;base64,{''.join(image.split())}" for image in turn.images]
        return [ContentText(text=turn.text), *(ContentImage(image=image) for image in images)]

    parameters = ToolParams.model_validate(schema["parameters"])
    return ToolDef(call, name, schema["description"], parameters, parallel=False).as_tool()


@solver
def first_message() -> Any:
    """Put what an agent reads first, of task and machine, into the sample's prompt."""

    async def solve(state: TaskState, generate: Any) -> TaskState:  # noqa: ARG001
        state.user_prompt.text = rollout_of_sample().prompt
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def private_place() -> Any:
    """End the episode; score the share of the private leaderboard that it beats, 0 to 1."""

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001
        rollout = rollout_of_sample()
        await rollout.close()
        result = rollout.result
        if result is None or rollout.reward is None:
            return Score.unscored(explanation="the episode says nothing about the agent")
        facts = {"private_score": result.private_score, "notebook": result.notebook}
        return Score(value=result.position_private or 0.0, metadata=facts)

    return score


def kernel_task(tasks: Sequence[str], **options: Any) -> Task:
    """Return a task of Inspect whose samples are tasks of ours, solved by its agent `react`.

    Args:
        tasks: names of tasks, or task folders.
        options: fields of `EpisodeConfig`, and `observation_chars`.
    """
    samples = [
        Sample(
            id=PurePosixPath(name).name,
            input=name,
            metadata={"kernel_task": name, "kernel_options": options},
        )
        for name in tasks
    ]
    return Task(
        name=NAME,
        dataset=MemoryDataset(samples, name=NAME),
        solver=[first_message(), react(tools=tools())],
        scorer=private_place(),
        sandbox=NAME,
    )
