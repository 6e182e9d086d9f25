"""Agents: `baseline` plays the task's solution, `scripted` a file, `openai` asks a chat model."""

from kernel_env.agents.base import Agent, Options

__all__ = ["Agent", "Options"]
