"""Train a tiny language model on episodes, on two cores: SFT, and then GRPO with live branches.

    pip install 'kernel-env[trl]'
    python notebooks/train_tiny.py [--seeds 3] [--steps 12] [--sandbox local]

A model of less than 200,000 parameters starts from random weights. First it learns the form of a
call from the exported episodes of an agent that chooses at random. Then GRPO lets it choose: every
rollout is a branch of one live kernel in which the data is loaded, and its reward is the share of
the private leaderboard that the submission beats.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl.chat_template_utils import add_response_schema, get_training_chat_template

from kernel_env import Rollout
from kernel_env.adapters.trl_batch import BatchRollouts, episode_reward
from kernel_env.export import export

TASK = "image-segment"
LOAD = """
import os, pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
data = os.environ["DATA_PATH"]
train, test = pd.read_csv(f"{data}/train.csv"), pd.read_csv(f"{data}/test.csv")
X, y = train.drop(columns=["id", "category"]), train["category"]
def submit(depth):
    model = ExtraTreesClassifier(10, max_depth=2 * depth, random_state=0).fit(X, y)
    answer = test[["id"]].assign(category=model.predict(test[X.columns]))
    answer.to_csv(os.environ["OUTPUT_PATH"], index=False)
"""
"""The cell that leads to the state: all that the model has to choose is the depth of the trees."""
DEPTHS = range(1, 10)
TASK_CHARACTERS = 100
GROUP = 16
"""How many branches are compared with each other."""
TEMPLATE = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>")


async def demonstrate(folder: Path, sandbox: str) -> None:
    """Play episodes of an agent that chooses at random: a branch for each depth."""
    root = await Rollout.open(TASK, sandbox=sandbox, out=folder, reward="final", agent="random")
    try:
        await root.call("execute_code", {"code": LOAD})
        for depth, branch in zip(DEPTHS, await root.fork(len(DEPTHS)), strict=True):
            await branch.call("execute_code", {"code": f"submit({depth})"})
            await branch.close()
    finally:
        await root.close()


def exported(folder: Path) -> list[dict[str, Any]]:
    """Return the conversations of the branches: the state is their prompt."""
    export([folder], folder / "conversations", "sft")
    lines = (folder / "conversations" / "train.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["parent"] is not None]
    tools = [tool for tool in rows[0]["tools"] if tool["function"]["name"] == "execute_code"]
    return [
        {"prompt": short(row["prompt"]), "completion": row["completion"][:1], "tools": tools}
        for row in rows
    ]


def short(prompt: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a prompt with the first lines of the task only, for seconds instead of minutes."""
    first = {**prompt[0], "content": prompt[0]["content"][:TASK_CHARACTERS]}
    return [first, *prompt[1:]]


def tokenizer_of(rows: Sequence[dict[str, Any]]) -> PreTrainedTokenizerFast:
    """Train a tokenizer on conversations: a digit is a token, and so are most lines of a prompt."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|[^\d\n]+\n?|\n"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    template = TEMPLATE.read_text()
    plain = PreTrainedTokenizerFast(tokenizer_object=made, chat_template=template, **names)
    texts = [
        plain.apply_chat_template(
            [*row["prompt"], *row["completion"]], tools=row["tools"], tokenize=False
        )
        for row in rows
    ]
    made.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, chat_template=template, **names)
    add_response_schema(tokenizer)  # knows this template alone
    tokenizer.chat_template = get_training_chat_template(tokenizer)  # as GRPO reads, so does SFT
    return tokenizer


def model_of(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """Return a model with random weights."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def options(folder: Path, seed: int) -> dict[str, Any]:
    """Return the arguments that both trainers have."""
    return {
        "output_dir": str(folder / "trainer"),
        "seed": seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }


def imitate(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *,
    seed: int,
    steps: int,
) -> float:
    """Fine-tune the model on conversations; return the loss at the end."""
    trainer = trl.SFTTrainer(
        model,
        args=trl.SFTConfig(
            **options(folder, seed),
            max_steps=steps,
            per_device_train_batch_size=3,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            max_length=None,
            completion_only_loss=True,
        ),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
    )
    return float(trainer.train().training_loss)


def reinforce(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompt: Sequence[dict[str, Any]],
    folder: Path,
    *,
    seed: int,
    steps: int,
    sandbox: str,
) -> list[float]:
    """Train the model with GRPO on groups of branches; return the mean reward of each group."""
    row = {"prompt": prompt, "task": TASK, "state": "loaded", "cells": [LOAD], "seed": seed}
    rollouts = BatchRollouts(
        [row],
        tools=("execute_code",),
        show_task=False,
        sandbox=sandbox,
        out=folder / "training",
        budget={"steps": 2},  # the state, and the one choice
    )
    rewards: list[float] = []

    def reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        found = episode_reward(completions, **columns)
        rewards.append(statistics.fmean(each for each in found if each is not None))
        return found

    trainer = trl.GRPOTrainer(
        model,
        reward,
        args=trl.GRPOConfig(
            **options(folder, seed),
            max_steps=steps,
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            max_completion_length=32,
            learning_rate=2e-3,
            lr_scheduler_type="constant",
            beta=0.0,
            temperature=1.0,
        ),
        train_dataset=Dataset.from_list([row]),
        processing_class=tokenizer,
        rollout_func=rollouts,
    )
    try:
        trainer.train()
    finally:
        rollouts.close()
    return rewards


def main() -> None:
    """Train with some seeds, and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24, help="steps of GRPO")
    parser.add_argument("--sft-steps", type=int, default=200)
    parser.add_argument("--sandbox", default="auto")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as name:
        folder = Path(name)
        asyncio.run(demonstrate(folder / "runs", given.sandbox))
        rows = exported(folder / "runs")
        tokenizer = tokenizer_of(rows)
        for seed in range(given.seeds):
            began = time.perf_counter()
            random.seed(seed)
            model = model_of(tokenizer, seed)
            loss = imitate(model, tokenizer, rows, folder, seed=seed, steps=given.sft_steps)
            middle = time.perf_counter()
            rewards = reinforce(
                model,
                tokenizer,
                rows[0]["prompt"],
                folder,
                seed=seed,
                steps=given.steps,
                sandbox=given.sandbox,
            )
            ended = time.perf_counter()
            part = max(1, len(rewards) // 4)
            first, last = statistics.fmean(rewards[:part]), statistics.fmean(rewards[-part:])
            sys.stdout.write(
                f"seed {seed}: {model.num_parameters():,} parameters; SFT: loss {loss:.2f},"
                f" {middle - began:.0f} s; GRPO: reward {first:.2f} → {last:.2f},"
                f" {ended - middle:.0f} s: {' '.join(f'{each:.2f}' for each in rewards)}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
