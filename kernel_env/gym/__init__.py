"""Offer an episode as a synchronous `gymnasium.Env`, and many as a `VectorEnv`.

Importing it registers an ID for each task with Gymnasium.
"""

from kernel_env.gym.env import KernelEnv, make
from kernel_env.gym.registration import register
from kernel_env.gym.vector import KernelVectorEnv, vector

__all__ = ["KernelEnv", "KernelVectorEnv", "make", "vector"]

register()
