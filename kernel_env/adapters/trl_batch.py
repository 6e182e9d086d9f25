"""Train with TRL: a `rollout_func` for `GRPOTrainer` that steps a whole batch at the same time.

    from kernel_env.adapters.trl_batch import BatchRollouts, episode_reward

    rollouts = BatchRollouts(rows, budget={"steps": 10})
    GRPOTrainer(model, episode_reward, train_dataset=rows, rollout_func=rollouts, args=…)

The trainer's own loop runs the cells of a batch one after the other. Here they run while others
do, and the sandboxes start at the same time. Tokens are concatenated as TRL does it: what the
model has written is never tokenised again. This uses private methods of the trainer, because a
`rollout_func` gets no others: it is tested with the versions that the extra `trl` allows.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kernel_env.adapters.trl import OBSERVATION_CHARS, TOOLS
from kernel_env.errors import KernelEnvError, KernelError, SandboxError, UsageError, needs_extra
from kernel_env.rollouts.event_loop import EventLoopThread
from kernel_env.rollouts.live_states import LiveStates
from kernel_env.rollouts.rollout import Rollout
from kernel_env.rollouts.synchronous import SyncRollout

with needs_extra(__name__, "trl"):
    from trl.chat_template_utils import (
        add_response_schema,
        get_training_chat_template,
        is_chat_template_prefix_preserving,
        parse_response,
    )

Message = dict[str, Any]


@dataclass(kw_only=True)
class Sample:
    """A rollout with what the model has read and written."""

    rollout: SyncRollout
    prompt_ids: list[int] = field(default_factory=list)
    completion_ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    """1 for a token of the model, 0 for one of a tool's answer."""
    logprobs: list[float] = field(default_factory=list)
    reward: float | None = None

    def add(self, ids: Sequence[int], *, own: bool, logprobs: Sequence[float] | None) -> None:
        """Add tokens of the model, or of a tool's answer."""
        self.completion_ids += ids
        self.mask += [int(own)] * len(ids)
        self.logprobs += logprobs or [0.0] * len(ids)


class BatchRollouts:
    """Plays the rollouts of a batch; see `Environments` for the options and the rows."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        tools: tuple[str, ...] = TOOLS,
        show_task: bool = True,
        reward: Any = "final",
        observation_chars: int = OBSERVATION_CHARS,
        **options: Any,
    ) -> None:
        """Index the rows by their prompts, which are all that TRL hands to a `rollout_func`.

        Raises `UsageError` if two rows have the same prompt and differ otherwise.
        """
        self._rows: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            if dict(self._rows.setdefault(key_of(row["prompt"]), row)) != dict(row):
                raise UsageError("two rows with the same prompt differ; make their prompts differ")
        self._tools = [each for each in Rollout.tools() if each["function"]["name"] in tools]
        self._show_task = show_task
        self._options = {"reward": reward, "observation_chars": observation_chars, **options}
        self._states: LiveStates | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: not what is running here."""
        return {**self.__dict__, "_states": None}

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Play a rollout for each prompt; return tokens, masks and `episode_reward`s."""
        prepare(trainer)
        self._states = states = self._states or LiveStates(**self._options)
        rows = [self._rows[key_of(prompt)] for prompt in prompts]
        samples = [
            Sample(
                rollout=states.begin(
                    row["task"],
                    state=row.get("state") or "",
                    cells=row.get("cells") or (),
                    seed=row.get("seed") or 0,
                )
            )
            for row in rows
        ]
        thread = EventLoopThread.shared()
        try:
            for sample, prompt in zip(samples, prompts, strict=True):
                sample.prompt_ids = self._tokenised(prompt, sample.rollout, trainer)
            waiting = samples
            for _ in range(min(trainer.max_tool_calling_iterations, 10_000) + 1):
                waiting = self._turn(waiting, trainer, thread)
                if not waiting:
                    break
        finally:
            thread.call(end_all(samples))
            for sample in samples:
                sample.rollout.close()
            thread.leave()
        with_logprobs = trainer.use_vllm
        return {
            "prompt_ids": [sample.prompt_ids for sample in samples],
            "completion_ids": [sample.completion_ids for sample in samples],
            "logprobs": [sample.logprobs for sample in samples] if with_logprobs else None,
            "env_mask": [sample.mask for sample in samples],
            "episode_reward": [sample.reward for sample in samples],
        }

    def close(self) -> None:
        """End the live states; for a trainer that is not the last thing a program does."""
        if self._states is not None:
            self._states.close()

    def _tokenised(
        self, prompt: Sequence[Message], rollout: SyncRollout, trainer: Any
    ) -> list[int]:
        """Return the tokens of a prompt, with the tools and what a policy reads first."""
        messages = [dict(message) for message in prompt]
        if self._show_task:
            with suppress(SandboxError, KernelError):  # its reward is None, whatever it reads
                messages[-1]["content"] += f"\n\n{rollout.prompt}"
        tokens: list[int] = trainer.processing_class.apply_chat_template(
            messages,
            tools=self._tools,
            chat_template=trainer.chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **trainer.chat_template_kwargs,
        )["input_ids"]
        return tokens

    def _turn(
        self, samples: Sequence[Sample], trainer: Any, thread: EventLoopThread
    ) -> list[Sample]:
        """Let the model write, and run what it calls; return the samples that continue."""
        so_far = [sample.prompt_ids + sample.completion_ids for sample in samples]
        written, logprobs = trainer._generate_single_turn(so_far, None, {}, 1)  # noqa: SLF001
        calls = []
        for number, sample in enumerate(samples):
            room = trainer.max_completion_length - len(sample.completion_ids)
            own = logprobs and logprobs[number][:room]
            sample.add(written[number][:room], own=True, logprobs=own)
            message = parse_response(
                trainer._tokenizer,  # noqa: SLF001
                written[number],
                prefix=so_far[number],
                tools=self._tools,
            )
            calls.append(message.get("tool_calls") or [] if len(written[number]) <= room else [])
        answers = thread.call(answer_all(samples, calls))
        going = []
        for sample, messages in zip(samples, answers, strict=True):
            if not messages:
                continue
            suffix = trainer._get_tool_suffix_ids(messages)  # noqa: SLF001
            length = len(sample.completion_ids) + len(suffix)
            longest = trainer.model.config.get_text_config().max_position_embeddings
            if length < trainer.max_completion_length and len(sample.prompt_ids) + length < longest:
                sample.add(suffix, own=False, logprobs=None)
                going.append(sample)
        return going


def prepare(trainer: Any) -> None:
    """Give a trainer what it has only with tools: a parser, and a template that appends."""
    tokenizer = trainer._tokenizer  # noqa: SLF001
    names = ("response_template", "response_schema")
    if all(getattr(tokenizer, name, None) is None for name in names):
        add_response_schema(trainer.processing_class)
    if trainer.chat_template is None and not is_chat_template_prefix_preserving(
        trainer.processing_class
    ):
        trainer.chat_template = get_training_chat_template(trainer.processing_class)


async def answer_all(
    samples: Sequence[Sample], calls: Sequence[Sequence[Message]]
) -> list[list[Message]]:
    """Run the calls of all samples at the same time; those of one sample one after the other."""
    return await asyncio.gather(
        *(answers(sample.rollout, each) for sample, each in zip(samples, calls, strict=True))
    )


async def answers(rollout: SyncRollout, calls: Sequence[Message]) -> list[Message]:
    """Run calls; return a message for each, and none once the rollout is over or has failed."""
    messages = []
    for call in calls:
        function = call["function"]
        try:
            begun = await rollout.begun()
            turn = await begun.call(function["name"], function["arguments"])
        except (SandboxError, KernelError):
            return []
        if turn.over:
            return []  # whatever the model wrote after it would be without effect
        messages.append({"role": "tool", "name": function["name"], "content": turn.text})
    return messages


async def end_all(samples: Sequence[Sample]) -> None:
    """End the rollouts of samples at the same time, and set their rewards."""
    await asyncio.gather(*map(end, samples))


async def end(sample: Sample) -> None:
    """End a rollout and set its reward."""
    try:
        rollout = await sample.rollout.begun()
        await rollout.close()
        sample.reward = rollout.reward
    except KernelEnvError:
        sample.reward = None


def episode_reward(
    completions: Sequence[Any], episode_reward: Sequence[float | None], **_columns: Any
) -> list[float | None]:
    """Return the rewards of the episodes: the reward function for `BatchRollouts`."""
    return list(episode_reward)[: len(completions)]


def key_of(prompt: Any) -> str:
    """Return what identifies a prompt."""
    if isinstance(prompt, str):
        return prompt
    # A data set gives all messages the same fields.
    messages = [{k: v for k, v in each.items() if v is not None} for each in prompt]
    return json.dumps(messages, sort_keys=True)
