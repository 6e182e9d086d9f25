"""Play episodes in verifiers v1, and so in trainers that consume it: a taskset and a harness.

The harness runs in this process and asks the model at the endpoint that it is given, where
verifiers records tokens and log-probabilities. verifiers finds both by the name of a module without
dots, so a project needs a file with one line:

    # my_tasks.py; its id is my_tasks
    from kernel_env.adapters.verifiers import KernelHarness, KernelTaskset, __all__

The runtime must be `vf.SubprocessConfig()`, because nothing runs in verifiers' own: episodes have
containers of theirs. The extra `verifiers` has the package.
"""

from typing import Any, ClassVar

import openai
from pydantic import Field

from kernel_env.errors import needs_extra
from kernel_env.rollouts import Rollout

with needs_extra(__name__, "verifiers"):
    import verifiers.v1 as vf

__all__ = ["KernelHarness", "KernelTaskset"]

INFO = "kernel_env"
"""The name in a trace's `info` of the episode and its reward."""


class KernelData(vf.TaskData):
    """A task by name, with options of its episodes."""

    kernel_task: str = ""
    options: dict[str, Any] = Field(default_factory=dict)


class KernelTask(vf.Task[KernelData, vf.State, vf.TaskConfig]):
    """A task. Its reward is that of the episode."""

    @vf.reward
    async def earned(self, trace: vf.Trace) -> float:
        """Return what the episode earned."""
        return float(trace.info[INFO]["reward"])


class KernelTasksetConfig(vf.TasksetConfig):
    """Which tasks, and with which options."""

    tasks: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=lambda: {"reward": "final"})
    """Fields of `EpisodeConfig`, and `observation_chars`."""


class KernelTaskset(vf.Taskset[KernelTask, KernelTasksetConfig]):
    """Tasks of kernel_env."""

    def load(self) -> list[KernelTask]:
        """Return the tasks that the configuration names."""
        options = dict(self.config.options)
        return [
            KernelTask(KernelData(name=name, kernel_task=name, prompt=name, options=options))
            for name in self.config.tasks
        ]


class KernelHarness(vf.Harness[vf.HarnessConfig]):
    """Plays an episode: calls of tools, until the model makes none or the budget is used up."""

    NEEDS_CONTAINER: ClassVar[bool] = False
    EXECUTES_CODE: ClassVar[bool] = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,  # noqa: ARG002
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],  # noqa: ARG002
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Play the episode. A failure of the machine raises, and leaves the rollout unscored."""
        assert isinstance(data, KernelData)
        rollout = await Rollout.open(data.kernel_task, agent="verifiers", **data.options)
        try:
            async with openai.AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
                await play(rollout, client, ctx.model)
        finally:
            await rollout.close()
        trace.info[INFO] = {"episode": rollout.id, "reward": rollout.reward}
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


async def play(rollout: Rollout, client: openai.AsyncOpenAI, model: str) -> None:
    """Ask a model for calls, and carry them out."""
    messages: list[Any] = [{"role": "user", "content": rollout.prompt}]
    tools: list[Any] = Rollout.tools()
    while not rollout.over:
        answer = await client.chat.completions.create(model=model, messages=messages, tools=tools)
        message = answer.choices[0].message
        messages.append({"content": "", **message.model_dump(exclude_none=True)})
        if not message.tool_calls:
            return
        for call in message.tool_calls:
            if call.type == "function":
                thought = message.content or ""
                turn = await rollout.call(
                    call.function.name, call.function.arguments, thought=thought
                )
                reply = {"role": "tool", "tool_call_id": call.id, "content": turn.text}
                messages.append(reply)
