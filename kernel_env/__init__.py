"""Agents do machine-learning engineering on a forkable Jupyter kernel in a sealed container.

The names below are the public API; see CONTRIBUTING.md for what that promises.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel_env.agents.base import Agent as Agent
    from kernel_env.episode.actions import Action as Action
    from kernel_env.episode.actions import ExecuteCode as ExecuteCode
    from kernel_env.episode.actions import GetHistory as GetHistory
    from kernel_env.episode.actions import RequestInfo as RequestInfo
    from kernel_env.episode.actions import Reset as Reset
    from kernel_env.episode.actions import ValidateCode as ValidateCode
    from kernel_env.episode.budget import Budget as Budget
    from kernel_env.episode.config import EpisodeConfig as EpisodeConfig
    from kernel_env.episode.episode import Episode as Episode
    from kernel_env.episode.observation import Observation as Observation
    from kernel_env.episode.opening import open_episode as open_episode
    from kernel_env.episode.result import EpisodeResult as EpisodeResult
    from kernel_env.episode.step import Step as Step
    from kernel_env.errors import ActionError as ActionError
    from kernel_env.errors import AgentError as AgentError
    from kernel_env.errors import AgentSetupError as AgentSetupError
    from kernel_env.errors import DownloadError as DownloadError
    from kernel_env.errors import EpisodeOver as EpisodeOver
    from kernel_env.errors import KernelEnvError as KernelEnvError
    from kernel_env.errors import KernelError as KernelError
    from kernel_env.errors import ModelError as ModelError
    from kernel_env.errors import SandboxError as SandboxError
    from kernel_env.errors import SubmissionError as SubmissionError
    from kernel_env.errors import TaskError as TaskError
    from kernel_env.errors import UnknownName as UnknownName
    from kernel_env.errors import UsageError as UsageError
    from kernel_env.gym.env import KernelEnv as KernelEnv
    from kernel_env.gym.env import make as make
    from kernel_env.gym.vector import KernelVectorEnv as KernelVectorEnv
    from kernel_env.gym.vector import vector as vector
    from kernel_env.kernel.warm_pool import Pool as Pool
    from kernel_env.report.listing import load_runs as load_runs
    from kernel_env.rollouts.rollout import Rollout as Rollout
    from kernel_env.rollouts.synchronous import SyncRollout as SyncRollout
    from kernel_env.rollouts.turn import Turn as Turn
    from kernel_env.sandbox.protocol import Sandbox as Sandbox
    from kernel_env.tasks.selection import select_tasks as select_tasks
    from kernel_env.tasks.spec import Task as Task

# The module of each public name. It is imported when the name is first used, so that the command
# line and processes that need little start fast.
_MODULES = {
    "Action": "episode.actions",
    "ActionError": "errors",
    "Agent": "agents.base",
    "AgentError": "errors",
    "AgentSetupError": "errors",
    "Budget": "episode.budget",
    "DownloadError": "errors",
    "Episode": "episode.episode",
    "EpisodeConfig": "episode.config",
    "EpisodeOver": "errors",
    "EpisodeResult": "episode.result",
    "ExecuteCode": "episode.actions",
    "GetHistory": "episode.actions",
    "KernelEnv": "gym.env",
    "KernelEnvError": "errors",
    "KernelError": "errors",
    "KernelVectorEnv": "gym.vector",
    "ModelError": "errors",
    "Observation": "episode.observation",
    "Pool": "kernel.warm_pool",
    "RequestInfo": "episode.actions",
    "Reset": "episode.actions",
    "Rollout": "rollouts.rollout",
    "Sandbox": "sandbox.protocol",
    "SandboxError": "errors",
    "Step": "episode.step",
    "SubmissionError": "errors",
    "SyncRollout": "rollouts.synchronous",
    "Task": "tasks.spec",
    "TaskError": "errors",
    "Turn": "rollouts.turn",
    "UnknownName": "errors",
    "UsageError": "errors",
    "ValidateCode": "episode.actions",
    "load_runs": "report.listing",
    "make": "gym.env",
    "open_episode": "episode.opening",
    "select_tasks": "tasks.selection",
    "vector": "gym.vector",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kernel_env' has no attribute {name!r}")
    return getattr(import_module(f"kernel_env.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
