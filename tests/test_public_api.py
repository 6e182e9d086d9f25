"""The public names resolve, are documented and typed, and are imported only when used."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

import kernel_env
from kernel_env.episode.actions import KINDS, Action

PACKAGE = Path(kernel_env.__file__).parent
SLOW_LIBRARIES = ("pandas", "docker", "gymnasium", "sklearn")


@pytest.mark.parametrize("name", kernel_env.__all__)
def test_a_public_name_is_documented_where_it_is_defined(name: str) -> None:
    found = getattr(kernel_env, name)
    module = import_module(f"kernel_env.{kernel_env._MODULES[name]}")

    assert found is getattr(module, name)
    assert name in dir(kernel_env)
    if name == "Action":  # a union of classes, which has no docstring of its own
        assert get_args(get_args(Action)[0]) == KINDS
        assert all("__doc__" in vars(kind) and kind.__doc__ for kind in KINDS)
    else:
        assert found.__module__ == module.__name__
        assert inspect.cleandoc(found.__doc__ or "")
        assert not (found.__doc__ or "").startswith(f"{name}(")  # written by dataclass


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kernel_env' has no attribute 'nope'"):
        _ = kernel_env.nope


def test_type_checkers_and_the_interpreter_find_the_same_names() -> None:
    imports = {}
    for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                for alias in statement.names:
                    assert alias.asname == alias.name, "`as` marks the name as exported"
                    imports[alias.name] = statement.module

    assert imports == {name: f"kernel_env.{module}" for name, module in kernel_env._MODULES.items()}
    assert kernel_env.__all__ == sorted(kernel_env.__all__)


def test_the_import_loads_no_slow_library() -> None:
    program = f"import kernel_env, sys; print([n for n in {SLOW_LIBRARIES} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


# ── types ─────────────────────────────────────────────────────────────────────────────────

SNIPPET = """
from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import kernel_env
from kernel_env import (
    Action,
    ActionError,
    Agent,
    AgentError,
    AgentSetupError,
    Budget,
    DownloadError,
    Episode,
    EpisodeConfig,
    EpisodeOver,
    EpisodeResult,
    ExecuteCode,
    GetHistory,
    KernelEnv,
    KernelEnvError,
    KernelError,
    KernelVectorEnv,
    ModelError,
    Observation,
    Pool,
    RequestInfo,
    Reset,
    Rollout,
    Sandbox,
    SandboxError,
    Step,
    SubmissionError,
    SyncRollout,
    Task,
    TaskError,
    Turn,
    UnknownName,
    UsageError,
    ValidateCode,
    load_runs,
    select_tasks,
    make,
    open_episode,
    vector,
)

ERRORS: tuple[type[KernelEnvError], ...] = (
    ActionError, AgentError, AgentSetupError, DownloadError, EpisodeOver, KernelError, ModelError,
    SandboxError, SubmissionError, TaskError, UnknownName, UsageError,
)
ACTIONS: Sequence[Action] = (
    RequestInfo(info_type="all"), ValidateCode(code="1"), ExecuteCode(code="1"),
    GetHistory(last=3), Reset(),
)


def use_env(env: KernelEnv) -> None:
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(ExecuteCode(code="1 + 1"))
    assert_type(reward, float)
    assert_type(env.fork(2), list[KernelEnv])
    assert_type(env.result, EpisodeResult | None)
    assert_type(env.config, EpisodeConfig)


async def use_episode(task: str | Task, pool: Pool | None = None) -> Path:
    async with open_episode(task, sandbox="local", budget={"steps": 3}, pool=pool) as episode:
        assert_type(episode, Episode)
        assert_type(await episode.act(Reset()), Step)
        assert_type(episode.observation, Observation)
        assert_type(episode.setup.budget, Budget)
        return episode.notebook


async def use_rollout(task: str) -> float | None:
    rollout = await Rollout.open(task, budget={"steps": 3})
    turn = await rollout.call("execute_code", {"code": "1"})
    assert_type(turn, Turn)
    assert_type(await rollout.fork(2), list[Rollout])
    await rollout.close()
    return rollout.reward


def use_many(envs: KernelVectorEnv) -> SyncRollout:
    observations, infos = envs.reset(options={"reset_mask": None})
    assert_type(envs.group(0, 8), KernelVectorEnv)
    return SyncRollout.open("adult-income")


def names(agent: Agent, sandbox: Sandbox) -> list[str]:
    return kernel_env.__all__


table = load_runs(Path("runs"))
use_many(vector(["adult-income"], 8, warm=2))
use_many(vector(select_tasks(["domain:tabular"]), 8))
use_env(make("adult-income", feedback="both", budget={"steps": 20}))
EpisodeConfig(task="adult-income", reward=lambda grade, best, higher_is_better: 0.0)
"""


WITHOUT_CONFIGURATION = ["--strict", "--config-file", "", "--cache-dir", ".mypy_cache/public_names"]
"""Options of mypy, as for a user. It cannot use the cache that `make lint` leaves."""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="with the repository's configuration"),
        pytest.param(WITHOUT_CONFIGURATION, id="without configuration", marks=pytest.mark.slow),
    ],
)
def test_the_public_names_have_strict_types(tmp_path: Path, options: list[str]) -> None:
    assert (PACKAGE / "py.typed").is_file()
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    missing = [name for name in kernel_env.__all__ if name not in SNIPPET]

    argv = [sys.executable, "-m", "mypy", *options, str(snippet)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=PACKAGE.parent, check=False)

    assert missing == []
    assert done.returncode == 0, done.stdout + done.stderr
