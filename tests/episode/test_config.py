"""An `EpisodeConfig` rejects every invalid option when it is created."""

from dataclasses import FrozenInstanceError
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kernel_env.episode import EpisodeConfig, open_configured, open_episode
from kernel_env.episode.config import AUTO
from kernel_env.errors import TaskError, UnknownName, UsageError
from kernel_env.tasks import catalog
from support.episodes import SUBMIT_LINE, constant_reward, execute
from support.files import replace_text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "nope"}, "no task named 'nope'; known: adult-income, "),
        ({"task": "adult-incom"}, "no task named 'adult-incom'; did you mean 'adult-income'?"),
        (
            {"sandbox": "dcoker"},
            "no sandbox named 'dcoker'; did you mean 'docker'? known: auto, docker, local",
        ),
        (
            {"reward": "positon"},
            "no reward named 'positon'; did you mean 'position'? known: final, human_rank,"
            " improvement, position, progress, raw",
        ),
        (
            {"feedback": "private"},
            "no feedback named 'private'; known: both, ladder, public, validity",
        ),
        ({"budget": {"stepz": 1}}, "no limit of a budget named 'stepz'; did you mean 'steps'?"),
    ],
)
def test_an_unknown_name_is_rejected_with_the_known_ones(
    tiny: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownName) as caught:
        EpisodeConfig(**{"task": tiny, **options})

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("steps", 0),
        ("steps", -1),
        ("steps", None),
        ("steps", True),
        ("steps", float("nan")),
        ("seconds", "x"),
        ("seconds", -0.5),
        ("cell_seconds", 0),
        ("output_bytes", 0),
        ("tokens", 0),
        ("money", -1.0),
        ("checkpoints", 0),
        ("submissions", 0),
        ("submissions", 1.5),
        ("checkpoint_gb", 0),
    ],
)
def test_a_limit_must_be_a_positive_number(tiny: str, limit: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        EpisodeConfig(task=tiny, budget={limit: value})

    counts = ("steps", "output_bytes", "tokens", "checkpoints", "submissions")
    kind = "whole number" if limit in counts else "number"
    assert str(caught.value) == f"the budget's {limit} is {value!r}; it must be a positive {kind}"


@pytest.mark.parametrize("limit", ["tokens", "money", "submissions"])
def test_tokens_and_money_can_be_unlimited(tiny: str, limit: str) -> None:
    assert EpisodeConfig(task=tiny, budget={limit: None}).budget == {limit: None}


def test_human_rank_requires_a_leaderboard_of_human_teams(tiny: str, task_folder: Path) -> None:
    with pytest.raises(UsageError, match="tiny has reference entries; human_rank needs"):
        EpisodeConfig(task=tiny, reward="human_rank")

    columns = "entry,kind,public_score,private_score,seed,runtime_s\n"
    rows = "".join(f"team {n},human,{n}.5,{n}.25,,\n" for n in range(1, 21))
    (task_folder / "leaderboard.csv").write_text(columns + rows)
    assert EpisodeConfig(task=str(task_folder), reward="human_rank").reward == "human_rank"


def test_a_broken_task_is_rejected(task_folder: Path) -> None:
    replace_text(task_folder / "task.toml", 'name = "rmse"', 'name = "rsme"')

    with pytest.raises(TaskError, match="rsme"):
        EpisodeConfig(task=str(task_folder))


def test_a_config_has_defaults_and_is_frozen(tiny: str) -> None:
    config = EpisodeConfig(task=tiny)

    assert (config.sandbox, config.reward, config.feedback) == (AUTO, "progress", None)
    assert (config.budget, config.branching, config.seed) == ({}, True, 0)
    with pytest.raises(FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


async def test_a_config_accepts_a_task_and_a_reward_function(tiny: str, tmp_path: Path) -> None:
    task = catalog.find(tiny)
    config = EpisodeConfig(task=task, reward=constant_reward, sandbox="local", out=tmp_path)

    async with open_configured(config) as episode:
        await execute(episode, SUBMIT_LINE)

    assert config.load_task() is episode.setup.task is task
    assert episode.setup.config is config
    assert episode.setup.header.reward == "constant_reward"
    assert episode.progress.total_reward == 0.25


@pytest.mark.parametrize(
    "options",
    [
        {"task": "nope"},
        {"sandbox": "nope"},
        {"reward": "nope"},
        {"feedback": "nope"},
        {"budget": {"stepz": 1}},
        {"budget": {"steps": 0}},
        {"budget": {"seconds": "x"}},
    ],
)
async def test_an_invalid_option_creates_no_folder(
    tiny: str, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        async with open_episode(
            **{"task": tiny, "sandbox": "local", "out": tmp_path / "runs", **options}
        ):
            pass

    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *product(("task", "sandbox", "reward", "budget"), (None, 3, ["docker"])),
        *product(("feedback", "counts"), (3, ["public"])),
    ],
)
def test_an_option_of_the_wrong_type_is_a_usage_error(
    tiny: str, option: str, value: object
) -> None:
    with pytest.raises(UsageError) as caught:
        EpisodeConfig(**{"task": tiny, option: value})  # type: ignore[arg-type]

    assert option in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("seconds", float("inf"), "a positive number"),
        ("cell_seconds", float("inf"), "a positive number"),
        ("steps", 1.5, "a positive whole number"),
        ("tokens", 0.5, "a positive whole number"),
        ("checkpoints", 2.5, "a positive whole number"),
    ],
)
def test_a_limit_must_be_finite_and_a_count_whole(
    tiny: str, limit: str, value: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        EpisodeConfig(task=tiny, budget={limit: value})
