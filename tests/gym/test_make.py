"""`make` checks every option and starts nothing before the first `reset`."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

import kernel_env
from kernel_env import KernelEnv
from kernel_env.errors import UnknownName, UsageError
from support.episodes import SUBMIT_LINE, constant_reward, execute_action


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"task": "nope"}, UnknownName, "no task named 'nope'"),
        ({"sandbox": "dcoker"}, UnknownName, "no sandbox named 'dcoker'; did you mean 'docker'?"),
        ({"reward": "foo"}, UnknownName, "no reward named 'foo'"),
        ({"feedback": "private"}, UnknownName, "no feedback named 'private'"),
        ({"budget": {"stepz": 1}}, UnknownName, "did you mean 'steps'?"),
        ({"budget": {"steps": 0}}, UsageError, "the budget's steps is 0"),
        ({"reward": "human_rank"}, UsageError, "human_rank needs"),
    ],
)
def test_an_invalid_option_is_rejected_before_anything_starts(
    tiny: str, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    threads = threading.active_count()

    with pytest.raises(error) as caught:
        kernel_env.make(**{"task": tiny, "out": tmp_path / "runs", **options})

    assert message in str(caught.value)
    assert threading.active_count() == threads
    assert not (tmp_path / "runs").exists()


def test_make_starts_nothing(tiny: str, tmp_path: Path) -> None:
    threads = threading.active_count()

    env = kernel_env.make(tiny, sandbox="local", out=tmp_path / "runs", warm=1)

    assert threading.active_count() == threads
    assert not (tmp_path / "runs").exists()
    assert env.episode is env.notebook is env.result is env.record is None
    env.close()


def test_the_options_are_the_config_of_the_environment(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path, budget={"steps": 5}, agent="me")

    config = env.config
    assert (config.task, config.sandbox, config.out) == (tiny, "local", tmp_path)
    assert (config.budget, config.agent, config.reward) == ({"steps": 5}, "me", "progress")


# ── spec ──────────────────────────────────────────────────────────────────────────────────


def through_pickle(spec: EnvSpec) -> Any:
    return pickle.loads(pickle.dumps(spec))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
def test_gymnasium_makes_an_equal_environment_from_the_spec(
    tiny: str, tmp_path: Path, duplicate: Any
) -> None:
    env = kernel_env.make(
        tiny, sandbox="local", out=tmp_path, budget={"steps": 5}, reward=constant_reward, warm=1
    )
    assert env.spec is not None
    assert env.spec.id == "kernel_env/tiny-v0"
    spec = duplicate(env.spec)

    made = gymnasium.make(spec)

    assert spec == env.spec
    assert isinstance(made.unwrapped, KernelEnv)
    assert made.unwrapped.config == env.config
    assert made.unwrapped.warm == env.warm == 1
    made.reset(seed=1)
    _, reward, *_ = made.step(execute_action(SUBMIT_LINE))
    made.close()
    assert reward == 0.25
    assert made.unwrapped.result is not None
    assert made.unwrapped.result == made.unwrapped.record


def test_gymnasium_passes_on_every_option_of_the_config(tiny: str) -> None:
    env = KernelEnv(tiny, sandbox="local", model="m", seed=3)

    made = gymnasium.make(env.spec)

    assert isinstance(made.unwrapped, KernelEnv)
    assert made.unwrapped.config == env.config
    assert (env.config.model, env.config.seed) == ("m", 3)


@pytest.mark.parametrize(("seed", "expected"), [(None, 3), (0, 0), (5, 5)])
def test_a_seed_of_reset_replaces_that_of_the_config(
    tiny: str, tmp_path: Path, seed: int | None, expected: int
) -> None:
    env = KernelEnv(tiny, sandbox="local", out=tmp_path, seed=3)

    env.reset(seed=seed)
    env.close()

    assert env.result is not None
    assert env.result.seed == expected


def test_a_spec_survives_json(tiny: str) -> None:
    env = kernel_env.make(tiny, sandbox="local", budget={"steps": 5})
    assert env.spec is not None

    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
