"""Offer an episode as a synchronous `gymnasium.Env`, and register an ID for each task."""

from kernel_env.gym.env import KernelEnv, make
from kernel_env.gym.registration import register

__all__ = ["KernelEnv", "make"]

register()
