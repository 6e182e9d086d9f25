"""An agent that searches a tree of forked kernels with a chat model."""

from kernel_env.agents.tree.agent import TreeAgent

__all__ = ["TreeAgent"]
