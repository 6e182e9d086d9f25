"""An environment can be forked; each fork is an environment of its own."""

from pathlib import Path

import pytest

import kernel_env
from kernel_env.errors import TaskError, UsageError
from support.episodes import execute_action
from support.files import replace_text


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_environments_and_their_forks_are_closed_in_any_order(
    tiny: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    env.reset()
    env.step(execute_action("x = 1"))
    (fork,), clone = env.fork(), env.clone()
    envs = [env, fork, clone]

    for number, each in enumerate(envs):
        each.step(execute_action(f"x += {number}"))
    texts = [each.step(execute_action("print(x)"))[0]["text"].split("\n")[0] for each in envs]
    for number in order:
        envs[number].close()

    assert texts == ["1", "2", "3"]
    for each in envs:
        assert each.result is not None
        assert each.notebook is not None
        assert each.notebook.is_file()


def test_a_fork_can_be_reset_while_its_parent_continues(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    with pytest.raises(UsageError, match=r"call env\.reset"):
        env.fork()
    env.reset()
    env.step(execute_action("x = 1"))

    (fork,) = env.fork(at_step=1)
    fork.reset()
    fresh = fork.step(execute_action("print('x' in dir())"))[0]["text"]
    kept = env.step(execute_action("print('x' in dir())"))[0]["text"]
    fork.close()
    env.close()

    assert fresh.startswith("False")
    assert kept.startswith("True")


def test_no_episode_is_forked_when_no_environment_can_be_created(
    task_folder: Path, tmp_path: Path
) -> None:
    env = kernel_env.make(str(task_folder), sandbox="local", out=tmp_path / "runs")
    env.reset()
    replace_text(task_folder / "task.toml", 'name = "rmse"', 'name = "rsme"')

    with pytest.raises(TaskError):
        env.fork()
    env.close()

    assert len(list((tmp_path / "runs").glob("*/*"))) == 1
