"""Those who play: `baseline` and `scripted` play a notebook, `openai` asks a model."""

from kernel_env.agents.base import Agent, Options

__all__ = ["Agent", "Options"]
