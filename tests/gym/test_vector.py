"""A vector environment plays several episodes at once, each of which can fail alone."""

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import kernel_env
from kernel_env import KernelVectorEnv
from kernel_env.episode.write_ending import IncompleteRecordWarning
from kernel_env.errors import SandboxError, UnknownName, UsageError
from support.episodes import SUBMIT_LINE, execute_action
from support.rollouts import full_disk


@pytest.fixture(scope="module")
def state(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[kernel_env.KernelEnv]:
    """An environment of the tiny task in which x is 40."""
    out = tmp_path_factory.mktemp("runs")
    env = kernel_env.make(tiny, sandbox="local", out=out, budget={"steps": 4})
    env.reset()
    env.step(execute_action("x = 40"))
    yield env
    env.close()


@pytest.fixture
def envs(state: kernel_env.KernelEnv) -> Iterator[KernelVectorEnv]:
    """Three branches of `state`."""
    envs = state.group(3, at_step=1)
    yield envs
    envs.close()


def run(*codes: str | None) -> list[Any]:
    return [code if code is None else execute_action(code) for code in codes]


def first_lines(observations: dict[str, Any]) -> list[str]:
    return [text.splitlines()[0] for text in observations["text"]]


def test_members_play_tasks_in_turn(tiny: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    envs = kernel_env.vector([tiny], 2, sandbox="local", out=tmp_path, budget={"steps": 2})

    observations, infos = envs.reset(seed=5)
    assert observations in envs.observation_space
    assert all("Predict `y`" in text for text in observations["text"])
    assert len(set(infos["episode"])) == 2
    assert list(infos["group"]) == ["tiny", "tiny"]
    observations, rewards, terminations, truncations, infos = envs.step(
        run("import os; print(os.getpid())", SUBMIT_LINE)
    )
    assert observations in envs.observation_space
    assert rewards.tolist() == [0.0, 1.0]
    assert not terminations.any()
    assert not truncations.any()
    finish = {"kind": "finish", "message": "done"}
    observations, rewards, terminations, truncations, infos = envs.step([run("1")[0], finish])
    envs.close()

    assert terminations.tolist() == [False, True]
    assert truncations.tolist() == [True, False]
    assert [each["status"] for each in infos["result"]] == ["budget", "finished"]
    assert [each["seed"] for each in infos["result"]] == [5, 6]
    assert list(infos["reward"]) == [0.0, 1.0]
    assert infos["private_score"][1] > 0
    assert threading.active_count() == threads
    with pytest.raises(UsageError, match="is closed; make a new one"):
        envs.reset()


def test_the_cells_of_a_step_run_at_the_same_time(envs: KernelVectorEnv, tmp_path: Path) -> None:
    envs.reset()
    code = (
        "import os, time\n"
        f"open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w').close()\n"
        f"while len(os.listdir({str(tmp_path)!r})) < 3: time.sleep(0.01)\n"
        "print('met')"
    )

    observations, *_ = envs.step(run(*[code] * 3))

    assert first_lines(observations) == ["met"] * 3


# ── groups ────────────────────────────────────────────────────────────────────────────────


def test_a_group_branches_from_one_live_state_at_each_reset(
    state: kernel_env.KernelEnv, envs: KernelVectorEnv
) -> None:
    draw = "import random; x += 1; print(x, random.random())"
    seen = []
    for _ in range(2):
        observations, infos = envs.reset()
        assert all("── step 1: execute_code ──" in text for text in observations["text"])
        observations, *_, infos = envs.step(run(*[draw] * 3))
        seen += [line.split() for line in first_lines(observations)]

    assert {value for value, _ in seen} == {"41"}
    assert len({number for _, number in seen}) == 6
    episode = state.episode
    assert episode is not None
    assert set(infos["group"]) == {f"{episode.setup.header.episode}:1"}
    assert list(infos["steps_done"]) == [2, 2, 2]
    assert state.step(execute_action("print(x)"))[0]["text"].startswith("40\n")


def test_a_member_can_be_branched_itself(envs: KernelVectorEnv) -> None:
    with pytest.raises(UsageError, match="member 0 has no episode"):
        envs.group(0, 2)
    envs.reset()
    envs.step(run("x += 1", None, None))

    pair = envs.group(0, 2, at_step=2)
    pair.reset()
    observations, *_ = pair.step(run("print(x + 1)", "print(x + 2)"))
    pair.close()

    assert first_lines(observations) == ["42", "43"]
    with pytest.raises(UsageError, match="branches at step 9 were requested; there are 2 steps"):
        envs.group(0, 2, at_step=9)


# ── resets ────────────────────────────────────────────────────────────────────────────────


def test_a_finished_member_stays_as_it_is_until_it_is_reset(envs: KernelVectorEnv) -> None:
    envs.reset()
    names = envs.step([{"kind": "finish"}, None, None])[-1]["episode"]
    before = envs.step(run("print('a')", "print('b')", None))

    assert before[2].tolist() == [True, False, False]
    assert before[0]["text"][0] == "The episode has ended."
    assert list(before[-1]["steps_done"]) == [1, 2, 1]

    observations, infos = envs.reset(options={"reset_mask": np.array([True, False, False])})
    after = envs.step(run("print('c')", None, None))

    assert infos["episode"][0] != names[0]
    assert list(infos["episode"][1:]) == list(names[1:])
    assert observations["text"][1].startswith("b\n")
    assert after[0]["text"][0].startswith("c\n")
    assert not after[2].any()


@pytest.mark.parametrize("mask", [[True], [False] * 3, [1, 0, 0]])
def test_a_wrong_mask_is_one_clear_error(envs: KernelVectorEnv, mask: list[Any]) -> None:
    with pytest.raises(UsageError, match="it must be 3 booleans, at least one of them true"):
        envs.reset(options={"reset_mask": np.array(mask)})


def test_wrong_numbers_are_clear_errors(envs: KernelVectorEnv, tiny: str) -> None:
    with pytest.raises(UsageError, match=r"call reset\(\) first"):
        envs.step(run("1", "2", "3"))
    with pytest.raises(UsageError, match="2 seeds were given for 3 members"):
        envs.reset(seed=[1, 2])
    with pytest.raises(UsageError, match="num_envs is 0"):
        kernel_env.vector(tiny, 0)
    with pytest.raises(UsageError, match="no task was given"):
        kernel_env.vector([], 1)
    with pytest.raises(UnknownName, match="did you mean 'reward'"):
        kernel_env.vector(tiny, 1, rewards="final")
    envs.reset()
    with pytest.raises(UsageError, match="2 actions were given for 3 members"):
        envs.step(run("1", "2"))


# ── failures ──────────────────────────────────────────────────────────────────────────────


def test_a_member_fails_alone(envs: KernelVectorEnv) -> None:
    envs.reset()
    failing = envs._members[1].rollout
    assert failing is not None

    with full_disk(failing), pytest.warns(IncompleteRecordWarning):
        _, rewards, terminations, truncations, infos = envs.step([None, *run("1"), None])
    observations, *_, after = envs.step([{"kind": "fly"}, *run("print(1)", "print(x)")])

    assert rewards.tolist() == [0.0] * 3
    assert truncations.tolist() == [False, True, False]
    assert not terminations.any()
    assert infos["failure"][1].startswith("SandboxError: the journal ")
    assert list(after["reward"]) == [0.0, None, 0.0]
    assert observations["error"][0].startswith("no action of kind 'fly'")
    assert observations["text"][2].startswith("40\n")
    assert observations in envs.observation_space


def test_a_reset_raises_if_no_member_begins(tiny: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    envs = kernel_env.vector(tiny, 2, sandbox="docker", out=tmp_path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere")
        with pytest.raises(SandboxError):
            envs.reset()
    envs.close()

    assert threading.active_count() == threads


# ── Gymnasium's own ───────────────────────────────────────────────────────────────────────


def test_spaces_can_be_sent_to_another_process(tiny: str) -> None:
    env, envs = kernel_env.make(tiny), kernel_env.vector(tiny, 2)

    for space in (env.observation_space, env.action_space, envs.observation_space):
        assert pickle.loads(pickle.dumps(space)) == space
    assert envs.action_space.contains(envs.action_space.sample())
    assert envs.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    envs.close()


def test_tasks_can_be_made_as_vector_environments_by_id(tmp_path: Path) -> None:
    name = "kernel_env.gym:kernel_env/adult-income-v0"

    envs = gymnasium.make_vec(name, num_envs=3, sandbox="local", out=tmp_path)

    assert isinstance(envs.unwrapped, KernelVectorEnv)
    assert envs.num_envs == 3
    envs.close()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_vector_environments_of_gymnasium_work(tiny: str, tmp_path: Path, mode: str) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path, budget={"steps": 3})
    more = {"vector_kwargs": {"shared_memory": False}} if mode == "async" else {}

    envs = gymnasium.make_vec(env.spec, num_envs=2, vectorization_mode=mode, **more)
    envs.reset(seed=0)
    observations, *_ = envs.step(run("print(6 * 7)", "print(6 * 8)"))
    envs.close()

    assert first_lines(observations) == ["42", "48"]
    assert len(list(tmp_path.rglob("record.json"))) == 2
