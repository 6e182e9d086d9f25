"""Offer an episode as a synchronous `gymnasium.Env`."""

from kernel_env.gym.env import KernelEnv, make

__all__ = ["KernelEnv", "make"]
