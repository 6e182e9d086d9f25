"""Play episodes by calls of tools, for trainers and servers: many at once, and in groups."""

from kernel_env.rollouts.event_loop import EventLoopThread
from kernel_env.rollouts.live_states import LiveStates
from kernel_env.rollouts.rollout import Rollout
from kernel_env.rollouts.synchronous import SyncRollout
from kernel_env.rollouts.turn import Turn

__all__ = ["EventLoopThread", "LiveStates", "Rollout", "SyncRollout", "Turn"]
