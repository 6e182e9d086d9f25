"""Play episodes in SkyRL: an environment of skyrl-gym, whose actions are a model's raw text.

    register("kernel", entry_point="kernel_env.adapters.skyrl:KernelTextEnv")

A row of the dataset has `kernel_task` in its extras; the environment's configuration has options of
an episode, such as `reward`, `budget` and `observation_chars`. An answer can have tool calls as
text, JSON, or code in fences. SkyRL steps environments in threads, and leaves one out of `close` if
an error came first: such an episode ends with the process. The extra `skyrl` has the package.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kernel_env.agents.openai import answers, conversation
from kernel_env.agents.openai.answers import Answer, Choice, Message
from kernel_env.episode.json_codec import action_json
from kernel_env.episode.tools import FINISH, Fault, Finish
from kernel_env.errors import KernelEnvError, UsageError, needs_extra
from kernel_env.rollouts import SyncRollout

with needs_extra(__name__, "skyrl"):
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

Messages = list[dict[str, str]]


class KernelTextEnv(BaseTextEnv):
    """An episode that is played by text."""

    def __init__(
        self, env_config: Mapping[str, Any] | None = None, extras: Mapping[str, Any] | None = None
    ) -> None:
        """Take the options; nothing is started before `init`. Raises `UsageError`."""
        super().__init__()
        self.options, given = dict(env_config or {}), dict(extras or {})
        if not isinstance(given.get("kernel_task"), str):
            raise UsageError("the row has no kernel_task; give the name of a task in its extras")
        self.task = given["kernel_task"]
        self.max_turns = int(self.options.pop("max_turns", given.get("max_turns", 1000)))
        self.rollout: SyncRollout | None = None

    def init(self, prompt: Sequence[dict[str, str]]) -> tuple[Messages, dict[str, Any]]:
        """Begin an episode; return the prompt with the instructions and the task."""
        self.close()
        self.rollout, self.turns = SyncRollout.open(self.task, agent="skyrl", **self.options), 0
        try:
            task = self.rollout.prompt
        except KernelEnvError:
            self.close()
            raise
        messages = [dict(message) for message in prompt]
        if [message["role"] for message in messages[:1]] != ["system"]:
            messages.insert(0, {"role": "system", "content": conversation.SYSTEM})
        if messages[-1]["role"] != "user":
            messages.append({"role": "user", "content": ""})
        messages[-1]["content"] = f"{messages[-1]['content']}\n\n{task}".strip()
        return messages, {"episode": self.rollout.id}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Carry out what an answer asks for, up to the first call that fails.

        Raises `UsageError` before `init`, `SandboxError`, `KernelError` if the machine failed.
        """
        if self.rollout is None:
            raise UsageError("there is no episode; call init first")
        self.turns += 1
        try:
            text, reward = take(self.rollout, answers.parse_answer(choice_of(action)))
            if self.turns >= self.max_turns and not self.rollout.over:
                reward += self.rollout.call(FINISH, {}).reward
        except KernelEnvError:
            self.close()
            raise
        if over := bool(self.rollout.over):
            self.close()
        return BaseTextEnvStepOutput(
            observations=[] if over else [{"role": "user", "content": text}],
            reward=reward,
            done=over,
            metadata={"episode": self.rollout.id, "over": self.rollout.over, "text": text},
        )

    def close(self) -> None:
        """End the episode. A second call does nothing."""
        if self.rollout is not None:
            self.rollout.close()

    def get_metrics(self) -> dict[str, Any]:
        """Return numbers of the episode, for the log of the training."""
        result = self.rollout.result if self.rollout is not None else None
        if result is None:
            return {}
        found = {"steps": result.steps, "place": result.position_private or 0.0}
        return {**found, "submissions": result.submissions, "restored": result.restored}


def choice_of(text: str) -> Choice:
    """Return raw text as the answer of an endpoint."""
    return Choice(message=Message(content=text))


def take(rollout: SyncRollout, answer: Answer) -> tuple[str, float]:
    """Carry out the calls of an answer, up to the first one that fails; return text and reward."""
    if answer.done:
        turn = rollout.call(FINISH, {"message": answer.text})
        return turn.text, turn.reward
    texts: list[str] = []
    reward = 0.0
    for number, call in enumerate(answer.calls):
        match call.action:
            case Fault(reason=reason):
                return "\n\n".join([*texts, f"error: {reason}"]), reward
            case Finish(message=message):
                turn = rollout.call(FINISH, {"message": message})
            case action:
                arguments = action_json(action)
                name, thought = arguments.pop("kind"), "" if number else answer.thought
                turn = rollout.call(name, arguments, thought=thought)
        texts.append(turn.text)
        reward += turn.reward
        if turn.error or turn.over:
            break
    return "\n\n".join(texts), reward
