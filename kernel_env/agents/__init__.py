"""Agents: `baseline` plays a solution, `scripted` a file; `openai` and `tree` ask a chat model."""

from kernel_env.agents.base import Agent, Options

__all__ = ["Agent", "Options"]
