"""verl's agent loop plays an episode: its tokens, its mask, its reward."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from kernel_env.adapters.verl import KernelAgentLoop
from kernel_env.errors import UsageError
from support.openai_episodes import SOLVE

pytestmark = pytest.mark.frameworks
TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] -%}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, with the template of a model that calls tools."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_alone = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
    )
    fast.chat_template = TEMPLATE
    return fast


class Server:
    """A model that answers from a script."""

    def __init__(self, tokenizer: Any, *answers: str | Callable[[], str]) -> None:
        self.tokenizer, self.answers = tokenizer, list(answers)
        self.prompts: list[str] = []

    async def generate(self, *, prompt_ids: list[int], **_: Any) -> TokenOutput:
        self.prompts.append(self.tokenizer.decode(prompt_ids))
        answer = self.answers.pop(0)
        ids = self.tokenizer.encode(f"{answer() if callable(answer) else answer}<|im_end|>")
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), num_preempted=0)


def loop_of(tokenizer: Any, server: Server, *, response_length: int = 20_000) -> KernelAgentLoop:
    rollout = {
        "prompt_length": 20_000,
        "response_length": response_length,
        "multi_turn": {"format": "hermes"},
    }
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}, "data": {}})
    return KernelAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
    )


def row(tiny: str, out: Path, **options: Any) -> dict[str, Any]:
    prompt = [{"role": "user", "content": "Solve it."}]
    given = {"sandbox": "local", "out": str(out), "reward": "final", **options}
    return {"raw_prompt": prompt, "kernel_task": tiny, "kernel_options": given}


def call(code: str) -> str:
    arguments = {"name": "execute_code", "arguments": {"code": code}}
    return f"I try.<tool_call>\n{json.dumps(arguments)}\n</tool_call>"


async def test_an_episode_is_played_with_tokens(tokenizer: Any, tiny: str, tmp_path: Path) -> None:
    server = Server(tokenizer, call("x = 41"), call(f"{SOLVE}\nx + 1"), "I am done.")

    played = await loop_of(tokenizer, server).run({}, **row(tiny, tmp_path))

    prompt = tokenizer.decode(played.prompt_ids)
    made = [i for i, m in zip(played.response_ids, played.response_mask, strict=True) if m]
    replies = [i for i, m in zip(played.response_ids, played.response_mask, strict=True) if not m]
    assert "Solve it.\n\n# Tiny" in prompt
    assert server.prompts[0] == prompt
    assert server.prompts[2].startswith(server.prompts[1]), "tokens are only added"
    assert tokenizer.decode(made).count("<tool_call>") == 2
    assert "I am done." in tokenizer.decode(made)
    assert "42" in tokenizer.decode(replies)
    assert "public score" in tokenizer.decode(replies)
    assert played.response_logprobs is not None
    assert len(played.response_logprobs) == len(played.response_ids)
    assert played.reward_score > 0.5
    assert played.as_dict()["rm_scores"][-1] == pytest.approx(played.reward_score)
    assert len(list(tmp_path.rglob(f"{played.extra_fields['episode']}/record.json"))) == 1


async def test_a_response_has_a_greatest_length(tokenizer: Any, tiny: str, tmp_path: Path) -> None:
    server = Server(tokenizer, call("print('x' * 5000)"), "not asked")

    played = await loop_of(tokenizer, server, response_length=2000).run({}, **row(tiny, tmp_path))

    assert len(server.prompts) == 1
    assert len(played.response_ids) == len(played.response_mask) <= 2000


async def test_a_failure_of_the_machine_teaches_nothing(
    tokenizer: Any, tiny: str, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def answer_on_a_full_disk() -> str:
        size = next(tmp_path.rglob("journal.jsonl")).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        return call("x = 2")

    server = Server(tokenizer, call("x = 1"), answer_on_a_full_disk)
    try:
        played = await loop_of(tokenizer, server).run({}, **row(tiny, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert played.extra_fields["failed"]
    assert played.reward_score == 0
    assert set(played.response_mask) == {0}


async def test_a_row_without_a_task_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(UsageError, match="the row has no kernel_task"):
        await loop_of(tokenizer, Server(tokenizer)).run({}, raw_prompt=[])
