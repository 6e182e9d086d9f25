import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env

import kernel_env
from kernel_env import ExecuteCode, KernelEnv, RequestInfo
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.errors import ActionError, EpisodeOver, UnknownName, UsageError

LINE = """
import os, pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
test.assign(y=3 * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""


@pytest.fixture
def env(tiny: str, sandbox: str, tmp_path: Path) -> Iterator[KernelEnv]:
    env = kernel_env.make(tiny, sandbox=sandbox, out=tmp_path, budget={"steps": 5})
    yield env
    env.close()


def test_gymnasiums_own_checker_is_content(env: KernelEnv) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=kernel_env.sandbox.selection.NotIsolatedWarning)

        check_env(env)


def test_an_episode_by_hand(env: KernelEnv) -> None:
    observation, info = env.reset(seed=3)
    assert observation in env.observation_space
    assert (observation["steps_left"], info["steps_done"]) == (5, 0)
    assert "Predict `y`" in observation["text"]

    first = env.step(RequestInfo(info_type="name"))
    second = env.step({"kind": "execute_code", "code": "x = 1 / 0"})
    third = env.step('{"kind": "execute_code", "code": "1 + 1"}')
    observation, reward, terminated, truncated, info = env.step(ExecuteCode(code=LINE))

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

    env.close()
    assert env.notebook is not None
    assert len(parse_notebook(read_notebook(env.notebook)).steps) == 5
    assert env.record is not None
    assert env.record.private_score is not None
    assert env.record.seed == 3


def test_every_reset_is_an_episode_of_its_own(env: KernelEnv) -> None:
    env.reset()
    env.step({"kind": "execute_code", "code": "x = 1; open('f', 'w')"})
    first = env.notebook

    env.reset()
    observation, *_ = env.step(
        {"kind": "execute_code", "code": "import os; 'x' in dir(), os.listdir()"}
    )

    assert env.notebook != first
    assert first is not None
    assert first.is_file()
    assert observation["text"].startswith("(False, [])")
    assert observation["steps_left"] == 4


def test_a_reset_takes_a_kernel_that_waits_and_a_new_one_waits_in_its_place(
    tiny: str, sandbox: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox=sandbox, out=tmp_path, warm=1)
    seen = []

    for _ in range(3):
        env.reset()
        env.warm_up()
        env.step({"kind": "execute_code", "code": "import os; x = dir(); open('f', 'w').close()"})
        observation, *_ = env.step(
            {"kind": "execute_code", "code": "print('x' in x, os.listdir())"}
        )
        seen.append(observation["text"].splitlines()[0])
    env.close()

    assert seen == ["False ['f']"] * 3
    assert env.record is not None


def test_pictures_are_in_info(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    env.reset()

    *_, info = env.step(
        {
            "kind": "execute_code",
            "code": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])",
        }
    )
    env.close()

    assert len(info["images"]) == 1
    import base64

    assert base64.b64decode(info["images"][0]).startswith(b"\x89PNG")


def test_what_is_no_action_is_raised_and_nothing_happens(tiny: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"task": "nope"}, UnknownName),
        ({"reward": "nope"}, UnknownName),
        ({"budget": {"stepz": 1}}, UsageError),
    ],
)
def test_make_says_at_once_what_does_not_fit(
    tiny: str, options: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        kernel_env.make(**{"task": tiny, **options})  # type: ignore[arg-type]


def test_it_works_where_a_loop_already_runs(tiny: str, tmp_path: Path) -> None:
    import asyncio

    async def in_a_notebook() -> str:
        env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
        env.reset()
        observation, *_ = env.step({"kind": "execute_code", "code": "6 * 7"})
        env.close()
        return observation["text"]

    assert asyncio.run(in_a_notebook()).startswith("42\n")


@pytest.mark.parametrize("end", ["", "raise SystemError('a bug of the user')"])
def test_a_script_that_forgets_to_close_ends_and_its_record_is_complete(
    tiny: str, sandbox: str, tmp_path: Path, end: str
) -> None:
    program = (
        "import kernel_env\n"
        f"env = kernel_env.make({tiny!r}, sandbox={sandbox!r}, out={str(tmp_path)!r})\n"
        "env.reset(); env.step({'kind': 'execute_code', 'code': '1'})\n"
        f"print(env.notebook)\n{end}"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == bool(end), done.stderr
    trajectory = parse_notebook(read_notebook(Path(done.stdout.strip())))
    assert len(trajectory.steps) == 1
    assert trajectory.ending is not None
