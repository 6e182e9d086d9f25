"""Play episodes in verl: an agent loop, which a row of the dataset names as `kernel_agent`.

verl must import this module, by `actor_rollout_ref.rollout.agent.agent_loop_config_path` or
otherwise, and a row has `kernel_task`, the name of a task, and can have `kernel_options`. The
model's calls are parsed in the format of `rollout.multi_turn.format`. Tokens are only added, never
encoded again, and those of replies are masked. When the machine fails, all tokens are masked: such
a sample teaches nothing. The extra `verl` has the package, and what it forgets to ask for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kernel_env.errors import KernelError, SandboxError, UsageError, needs_extra
from kernel_env.rollouts import Rollout

with needs_extra(__name__, "verl"):
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register
    from verl.experimental.agent_loop.tool_parser import ToolParser
    from verl.tools.schemas import OpenAIFunctionToolSchema

NAME = "kernel_agent"


@dataclass(kw_only=True)
class Tokens:
    """The tokens of a conversation until now."""

    ids: list[int]
    """Those of the prompt and of all that followed."""
    mask: list[int] = field(default_factory=list)
    """For each that followed the prompt: 1 if the model made it, 0 if not."""
    log_probs: list[float] | None = None
    """Log-probabilities of those that followed the prompt, if the server gives them."""


@register(NAME)
class KernelAgentLoop(AgentLoopBase):
    """One episode as one conversation of a model that calls tools."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Play an episode; return its tokens and its reward. Raises `UsageError`, `TaskError`."""
        if not isinstance(row.get("kernel_task"), str):
            raise UsageError("the row has no kernel_task; give the name of a task")
        rollout = await Rollout.open(
            row["kernel_task"], agent="verl", **dict(row.get("kernel_options") or {})
        )
        try:
            messages = with_task(row["raw_prompt"], rollout.prompt)
            ids = await self.ct_build_initial_tokens(messages, tools=Rollout.tools())
            tokens, turns = Tokens(ids=list(ids)), 1
            while await self._turn(rollout, messages, tokens, sampling_params):
                turns += 2
        except (SandboxError, KernelError):
            tokens.mask = [0] * len(tokens.mask)
        finally:
            await rollout.close()
        return self._output(tokens, rollout, turns)

    async def _turn(
        self,
        rollout: Rollout,
        messages: list[Any],
        tokens: Tokens,
        sampling_params: dict[str, Any],
    ) -> bool:
        """Let the model answer, and carry out its calls. Returns whether it can answer again."""
        answer = await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=tokens.ids, sampling_params=sampling_params
        )
        known = tokens.log_probs if tokens.log_probs or not answer.log_probs else []
        merged, tokens.mask, tokens.log_probs = await self.ct_merge_assistant_token(
            tokens.ids,
            answer.token_ids,
            tokens.mask,
            known,
            assistant_logprobs=answer.log_probs or None,
        )
        tokens.ids = merged.token_ids
        if len(tokens.mask) >= self.rollout_config.response_length:
            return False
        schemas = [OpenAIFunctionToolSchema.model_validate(each) for each in Rollout.tools()]
        parser = ToolParser.get_tool_parser(self.rollout_config.multi_turn.format, self.tokenizer)
        content, calls = await parser.extract_tool_calls(answer.token_ids, schemas)
        messages.append(assistant_message(content, calls))
        before = list(messages)
        for call in calls:
            turn = await rollout.call(call.name, call.arguments, thought=content or "")
            named = {"tool_call_id": call.tool_call_id} if call.tool_call_id else {}
            messages.append({"role": "tool", "content": turn.text, **named})
        if not calls or rollout.over:
            return False
        merged, mask, log_probs = await self.ct_merge_context_msg(
            before,
            messages,
            tokens.ids,
            tokens.mask,
            tokens.log_probs,
            tools=Rollout.tools(),
        )
        if len(mask) >= self.rollout_config.response_length:
            return False
        tokens.ids, tokens.mask, tokens.log_probs = merged.token_ids, mask, log_probs
        return True

    def _output(self, tokens: Tokens, rollout: Rollout, turns: int) -> AgentLoopOutput:
        limit, number = self.rollout_config.response_length, len(tokens.mask)
        prompt = tokens.ids[: len(tokens.ids) - number]
        return AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=tokens.ids[len(prompt) :][:limit],
            response_mask=tokens.mask[:limit],
            response_logprobs=tokens.log_probs[:limit] if tokens.log_probs else None,
            reward_score=rollout.reward or 0.0,
            num_turns=turns + 1,
            metrics={},
            extra_fields={"episode": rollout.id, "failed": rollout.reward is None},
        )


def with_task(prompt: Any, task: str) -> list[dict[str, Any]]:
    """Return the messages of a row, with what an agent reads first at the end."""
    messages = [dict(message) for message in prompt]
    if not messages or messages[-1]["role"] != "user":
        messages.append({"role": "user", "content": ""})
    messages[-1]["content"] = f"{messages[-1]['content']}\n\n{task}".strip()
    return messages


def assistant_message(content: str | None, calls: Any) -> dict[str, Any]:
    """Return the answer of a model with its calls, as chat templates take it."""
    functions = [{"name": call.name, "arguments": arguments_of(call.arguments)} for call in calls]
    tool_calls = [{"type": "function", "function": each} for each in functions]
    return {
        "role": "assistant",
        "content": content or "",
        **({"tool_calls": tool_calls} if tool_calls else {}),
    }


def arguments_of(text: str) -> Mapping[str, Any] | str:
    """Return the arguments of a call as an object; as they are, if they are none."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text
