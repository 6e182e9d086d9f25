"""Agents do machine-learning engineering on a live Jupyter kernel in a sealed container."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel_env.episode.actions import ExecuteCode as ExecuteCode
    from kernel_env.episode.actions import GetHistory as GetHistory
    from kernel_env.episode.actions import RequestInfo as RequestInfo
    from kernel_env.episode.actions import Reset as Reset
    from kernel_env.episode.actions import ValidateCode as ValidateCode
    from kernel_env.episode.episode import Episode as Episode
    from kernel_env.episode.episode import open_episode as open_episode
    from kernel_env.episode.observation import Observation as Observation
    from kernel_env.episode.step import Step as Step
    from kernel_env.errors import KernelEnvError as KernelEnvError
    from kernel_env.gym.env import KernelEnv as KernelEnv
    from kernel_env.gym.env import make as make

# Where each public name lives. They are imported when they are first used, so that the command
# line and the processes that need little start fast.
_HOMES = {
    "Episode": "episode.episode",
    "ExecuteCode": "episode.actions",
    "GetHistory": "episode.actions",
    "KernelEnv": "gym.env",
    "KernelEnvError": "errors",
    "Observation": "episode.observation",
    "RequestInfo": "episode.actions",
    "Reset": "episode.actions",
    "Step": "episode.step",
    "ValidateCode": "episode.actions",
    "make": "gym.env",
    "open_episode": "episode.episode",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kernel_env' has no attribute {name!r}")
    return getattr(import_module(f"kernel_env.{_HOMES[name]}"), name)
