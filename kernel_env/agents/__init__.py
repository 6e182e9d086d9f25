"""Agents: `baseline` plays the task's solution, `scripted` a file, `openai` asks a chat model.

Those in `reference` need no model: `nop`, `sample`, `constant`, `random-valid`, `automl-lite`.
"""

from kernel_env.agents.base import Agent, Options

__all__ = ["Agent", "Options"]
