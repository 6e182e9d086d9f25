"""An agent that lets a chat model decide, through any endpoint that speaks OpenAI's protocol."""

from kernel_env.agents.openai.agent import OpenAIAgent

__all__ = ["OpenAIAgent"]
