"""An agent that asks a chat model for actions, through any OpenAI-compatible endpoint."""

from kernel_env.agents.openai.agent import OpenAIAgent

__all__ = ["OpenAIAgent"]
