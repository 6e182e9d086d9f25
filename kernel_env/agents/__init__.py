"""Agents: `baseline` plays a solution, `scripted` a file; `openai` and `tree` ask a chat model.

Those in `reference` need no model: `nop`, `sample`, `constant`, `random-valid`, `automl-lite`.
"""

from kernel_env.agents.base import Agent, Options

__all__ = ["Agent", "Options"]
