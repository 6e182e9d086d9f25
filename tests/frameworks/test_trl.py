"""TRL's own trainer plays episodes, as environments and as a batch; nothing stays behind."""

import gc
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer

from kernel_env.adapters.trl import Environments
from kernel_env.adapters.trl_batch import BatchRollouts, episode_reward
from kernel_env.episode.write_ending import IncompleteRecordWarning
from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.rollouts import Rollout
from support.episodes import DEFINE_SUBMIT
from support.rollouts import full_disk

sys.path.append(str(Path(__file__).parents[2] / "notebooks"))
import train_tiny

pytestmark = pytest.mark.frameworks
CALL = '<tool_call>\n{"name": "execute_code", "arguments": {"code": "%s"}}\n</tool_call><|im_end|>'
END = "I am done.<|im_end|>"


@pytest.fixture(autouse=True)
def nothing_runs_afterwards() -> Iterator[None]:
    """Require that no thread of a rollout is left: with the last one ends what it started."""
    yield
    gc.collect()
    for _ in range(600):
        names = [each.name for each in threading.enumerate() if "kernel_env" in each.name]
        if not names:
            return
        time.sleep(0.05)
    raise AssertionError(f"threads were left behind: {names}")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tools = [tool for tool in Rollout.tools() if tool["function"]["name"] == "execute_code"]
    message = {"role": "user", "content": "Play.\n"}
    return train_tiny.tokenizer_of([{"prompt": [message], "completion": [], "tools": tools}])


class Scripted(GRPOTrainer):
    """A trainer whose model says what is scripted: turn by turn, a text for each sample."""

    turns: list[list[str]]

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        texts = self.turns.pop(0)
        assert len(texts) == len(prompt_ids)
        return [self.processing_class(text)["input_ids"] for text in texts], None


def train(
    tokenizer: Any, rows: list[dict[str, Any]], turns: list[list[str]], folder: Path, **given: Any
) -> tuple[list[Any], Any]:
    """Train for one step; return the rewards and the trainer."""
    seen: list[Any] = []

    def record(completions: Any, **columns: Any) -> list[Any]:
        seen.append(columns.get("episode_reward"))
        return episode_reward(completions, **columns)

    rewards = {"reward_funcs": record} if "rollout_func" in given else {}
    trainer = Scripted(
        train_tiny.model_of(tokenizer, 0),
        args=GRPOConfig(
            **train_tiny.options(folder, 0),
            max_steps=1,
            per_device_train_batch_size=len(turns[0]),
            num_generations=2,
            max_completion_length=2000,
            shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        **rewards,
        **given,
    )
    trainer.turns = turns
    trainer.train()
    return seen, trainer


def row(tiny: str, **more: Any) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": f"Play {more}"}], "task": tiny, **more}


OPTIONS: dict[str, Any] = {"sandbox": "local", "budget": {"steps": 5}}
STATES = [{"state": str(x), "cells": [DEFINE_SUBMIT, f"x = {x}"]} for x in (1, 101)]
"""Two states; `num_generations` is 2, so there are two groups of two branches."""


def test_the_tools_are_those_of_rollouts() -> None:
    names = ("execute_code", "finish", "validate_code", "request_info", "get_history")
    environment = pickle.loads(pickle.dumps(Environments(tools=names)))()
    public = {name for name in dir(environment) if not name.startswith("_")}
    known = {tool["function"]["name"]: tool["function"]["parameters"] for tool in Rollout.tools()}

    assert public == {*names, "reset", "get_reward"}
    for name in names:
        read = get_json_schema(getattr(environment, name))["function"]["parameters"]
        assert set(read["properties"]) == set(known[name]["properties"])
        assert set(read.get("required", ())) == set(known[name].get("required", ()))
    with pytest.raises(UnknownName, match="no tool for TRL named 'reset'"):
        Environments(tools=("reset",))


def test_the_trainer_plays_groups_of_branches(tiny: str, tmp_path: Path, tokenizer: Any) -> None:
    environments = Environments(out=tmp_path / "runs", **OPTIONS)
    rows = [row(tiny, **state) for state in STATES]
    turns = [
        [CALL % "x += 1; print(x); submit(3)", CALL % "submit(0)"] * 2,
        [END, END, END, END],
    ]

    _, trainer = train(tokenizer, rows, turns, tmp_path, environment_factory=environments)

    logged = trainer.state.log_history
    environments.close()
    del trainer
    steps = [path.read_text() for path in tmp_path.glob("runs/tiny/*/journal.jsonl")]
    assert len(steps) == 2 + 4, "two states, and two branches of each"
    assert sum('"text":"2\\n"' in text for text in steps) == 1
    assert sum('"text":"102\\n"' in text for text in steps) == 1
    assert logged is not None


def test_a_batch_is_stepped_at_the_same_time(tiny: str, tmp_path: Path, tokenizer: Any) -> None:
    meet = (
        "import os, time; open('{0}/' + str(os.getpid()), 'w').close()\\n"
        "while len(os.listdir('{0}')) < 4: time.sleep(0.01)"
    ).format(tmp_path / "meet")
    (tmp_path / "meet").mkdir()
    rows = [row(tiny, **state) for state in STATES]
    rollouts = BatchRollouts(rows, out=tmp_path / "runs", **OPTIONS)
    turns = [
        [CALL % meet] * 4,
        [CALL % "submit(3)", CALL % "submit(0)", "no call<|im_end|>", CALL % "fly("],
        [END, END, END],
    ]

    seen, _ = train(tokenizer, rows, turns, tmp_path, rollout_func=rollouts)
    rollouts.close()

    assert seen == [[1.0, 0.25, 0.0, 0.0]]
    assert len(list(tmp_path.glob("runs/tiny/*/record.json"))) == 6


def test_what_the_tools_answer_is_masked_and_nothing_is_tokenised_again(
    tiny: str, tmp_path: Path, tokenizer: Any
) -> None:
    rows = [row(tiny)]
    rollouts = BatchRollouts(rows, out=tmp_path / "runs", show_task=False, **OPTIONS)
    kept: list[Any] = []

    def keep(prompts: Any, trainer: Any) -> Any:
        kept.append(rollouts(prompts, trainer))
        return dict(kept[0])

    turns = [[CALL % "print(6 * 7)"] * 2, [END] * 2]
    train(tokenizer, rows, turns, tmp_path, rollout_func=keep)
    rollouts.close()

    ids, mask = kept[0]["completion_ids"][0], kept[0]["env_mask"][0]
    own = [token for token, by_model in zip(ids, mask, strict=True) if by_model]
    answer = tokenizer.decode([t for t, by_model in zip(ids, mask, strict=True) if not by_model])
    assert own == [*tokenizer(CALL % "print(6 * 7)")["input_ids"], *tokenizer(END)["input_ids"]]
    assert "<tool_response>\n42\n" in answer


def test_a_failure_of_the_machine_is_left_out(tiny: str, tmp_path: Path) -> None:
    environment: Any = Environments(out=tmp_path, **OPTIONS)()
    environment.reset(prompt=[], task=tiny)
    with pytest.warns(IncompleteRecordWarning), full_disk(environment._open[0].rollout):
        with pytest.raises(SandboxError, match="cannot be written"):
            environment.execute_code(code="1")

    assert environment.get_reward() is None
    assert environment.get_reward() is None, "also a second time"
    environment._environments.close()


def test_what_is_forgotten_is_closed(tiny: str, tmp_path: Path) -> None:
    environments = Environments(out=tmp_path, **OPTIONS)
    environment: Any = environments()
    text = environment.reset(prompt=[], task=tiny)
    environment.execute_code(code="x = 1")
    environment.reset(prompt=[], task=tiny)
    environments.close()
    del environment  # no close: TRL never calls one

    assert "Predict `y` from `x`" in text


def test_wrong_rows_are_clear_errors(tiny: str) -> None:
    environment: Any = Environments(**OPTIONS)()
    with pytest.raises(UsageError, match="a row of the data set has no task"):
        environment.reset(prompt=[])
    with pytest.raises(UsageError, match="two rows with the same prompt differ"):
        BatchRollouts([{"prompt": "a", "task": tiny}, {"prompt": "a", "task": "other"}])
