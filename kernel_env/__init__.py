"""Agents do machine-learning engineering on a live Jupyter kernel in a sealed container."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel_env.action import ExecuteCode as ExecuteCode
    from kernel_env.action import GetHistory as GetHistory
    from kernel_env.action import RequestInfo as RequestInfo
    from kernel_env.action import Reset as Reset
    from kernel_env.action import ValidateCode as ValidateCode
    from kernel_env.episode import Episode as Episode
    from kernel_env.episode import open_episode as open_episode
    from kernel_env.errors import KernelEnvError as KernelEnvError
    from kernel_env.gym import KernelEnv as KernelEnv
    from kernel_env.gym import make as make
    from kernel_env.observation import Observation as Observation
    from kernel_env.step import Step as Step

# Where each public name lives. They are imported when they are first used, so that the command
# line and the processes that need little start fast.
_HOMES = {
    "Episode": "episode",
    "ExecuteCode": "action",
    "GetHistory": "action",
    "KernelEnv": "gym",
    "KernelEnvError": "errors",
    "Observation": "observation",
    "RequestInfo": "action",
    "Reset": "action",
    "Step": "step",
    "ValidateCode": "action",
    "make": "gym",
    "open_episode": "episode",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kernel_env' has no attribute {name!r}")
    return getattr(import_module(f"kernel_env.{_HOMES[name]}"), name)
