"""An environment offers an episode as gymnasium defines it."""

import asyncio
import base64
import subprocess
import sys
import time
import warnings
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import kernel_env
from kernel_env import ExecuteCode, KernelEnv, RequestInfo
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.errors import ActionError, EpisodeOver, UsageError
from kernel_env.sandbox.selection import NotIsolatedWarning
from support.episodes import SUBMIT_LINE, execute_action


@pytest.mark.parametrize(
    "sandbox",
    ["local", pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow])],
    indirect=True,
)
def test_the_checker_of_gymnasium_finds_nothing(env: KernelEnv) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=NotIsolatedWarning)

        check_env(env)


def test_an_episode_runs_until_its_budget_is_used_up(env: KernelEnv) -> None:
    observation, info = env.reset(seed=3)
    assert observation in env.observation_space
    assert (observation["steps_left"], info["steps_done"]) == (5, 0)
    assert "Predict `y`" in observation["text"]

    first = env.step(RequestInfo(info_type="name"))
    second = env.step({"kind": "execute_code", "code": "x = 1 / 0"})
    third = env.step('{"kind": "execute_code", "code": "1 + 1"}')
    observation, reward, terminated, truncated, info = env.step(ExecuteCode(code=SUBMIT_LINE))

    assert first[0]["text"].startswith("Tiny\n")
    assert second[0]["error"] == "ZeroDivisionError: division by zero"
    assert third[0]["text"].startswith("2\n")
    assert observation in env.observation_space
    assert observation["public_score"] == observation["best_public_score"] < 0.1
    assert (reward, observation["position"]) == (1.0, 1.0)
    assert (terminated, truncated, info["steps_done"]) == (False, False, 4)

    *_, truncated, info = env.step({"kind": "get_history", "last": 1})
    assert truncated
    assert info["over"] == "the budget of 5 steps is used up"
    with pytest.raises(EpisodeOver):
        env.step({"kind": "get_history"})
    assert env.result is not None
    assert env.result.status == "budget"
    assert info["private_score"] == env.result.private_score is not None
    assert info["result"] == env.result.json()
    assert env.result.seed == 3
    assert env.record == env.result
    assert env.notebook is not None
    assert len(parse_notebook(read_notebook(env.notebook)).steps) == 5
    with pytest.raises(UsageError, match="the episode has ended; fork it before its last step"):
        env.fork()


def test_the_result_is_there_when_the_time_runs_out_between_two_steps(
    tiny: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path, budget={"seconds": 1})
    env.reset()
    env.step(execute_action("1"))
    time.sleep(1)

    with pytest.raises(EpisodeOver):
        env.step(execute_action("2"))

    assert env.result is not None
    assert (env.result.status, env.result.steps) == ("budget", 1)
    env.close()


def test_tasks_have_ids_in_the_registry_of_gymnasium(tmp_path: Path) -> None:
    env = gymnasium.make("kernel_env.gym:kernel_env/adult-income-v0", sandbox="local", out=tmp_path)

    assert isinstance(env.unwrapped, KernelEnv)
    assert env.unwrapped.config.load_task().id == "adult-income"
    env.close()


def test_every_reset_starts_a_new_episode(env: KernelEnv) -> None:
    env.reset()
    env.step(execute_action("x = 1; open('f', 'w')"))
    first = env.notebook

    env.reset()
    observation, *_ = env.step(execute_action("import os; 'x' in dir(), os.listdir()"))

    assert env.notebook != first
    assert first is not None
    assert first.is_file()
    assert observation["text"].startswith("(False, [])")
    assert observation["steps_left"] == 4


def test_every_reset_takes_a_pristine_kernel_from_the_warm_pool(
    tiny: str, sandbox: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox=sandbox, out=tmp_path, warm=1)
    texts = []

    for _ in range(3):
        env.reset()
        env.warm_up()
        env.step(execute_action("import os; x = dir(); open('f', 'w').close()"))
        observation, *_ = env.step(execute_action("print('x' in x, os.listdir())"))
        texts.append(observation["text"].splitlines()[0])
    env.close()

    assert texts == ["False ['f']"] * 3
    assert env.result is not None


def test_images_are_in_the_info(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    env.reset()

    *_, info = env.step(
        execute_action("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])")
    )
    env.close()

    assert len(info["images"]) == 1
    assert base64.b64decode(info["images"][0]).startswith(b"\x89PNG")


def test_an_invalid_action_raises_and_takes_no_step(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    with pytest.raises(UsageError, match=r"call env\.reset"):
        env.step({"kind": "reset"})
    env.reset()

    with pytest.raises(ActionError):
        env.step({"kind": "fly"})
    assert {"kind": "fly"} not in env.action_space
    *_, info = env.step({"kind": "get_history"})
    env.close()

    assert info["steps_done"] == 1


def test_an_environment_works_while_an_event_loop_runs(tiny: str, tmp_path: Path) -> None:
    async def use_env() -> str:
        env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
        env.reset()
        observation, *_ = env.step(execute_action("6 * 7"))
        env.close()
        return str(observation["text"])

    assert asyncio.run(use_env()).startswith("42\n")


@pytest.mark.parametrize("end", ["", "raise SystemError('a bug of the user')"])
def test_a_script_that_does_not_close_its_environment_ends_with_a_complete_notebook(
    tiny: str, sandbox: str, tmp_path: Path, end: str
) -> None:
    program = (
        "import kernel_env\n"
        f"env = kernel_env.make({tiny!r}, sandbox={sandbox!r}, out={str(tmp_path)!r})\n"
        "env.reset(); env.step({'kind': 'execute_code', 'code': '1'})\n"
        f"print(env.notebook)\n{end}"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == bool(end), done.stderr
    assert "Exception ignored" not in done.stderr
    trajectory = parse_notebook(read_notebook(Path(done.stdout.strip())))
    assert len(trajectory.steps) == 1
    assert trajectory.ending is not None
