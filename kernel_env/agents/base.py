"""An agent plays an episode until it has done what it wanted or the budget is used up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kernel_env.episode.episode import Episode


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an operator may say to an agent. Each agent uses what concerns it."""

    script: Path | None = None
    """For `scripted`: a notebook, a JSON list of actions, or a journal."""
    model: str = ""
    base_url: str | None = None
    """Of an OpenAI-compatible endpoint; None for OpenAI's own."""
    temperature: float | None = None
    price_in: float | None = None
    """US dollars for a million prompt tokens; None when it is not known."""
    price_out: float | None = None
    """US dollars for a million completion tokens."""
    context_tokens: int = 32_000
    """How much of the conversation the model can see, its answer included."""
    answer_tokens: int = 4_000
    """At most, for one answer."""
    images: bool = False
    """Whether the model takes pictures."""
    seed: int = 0


class Agent(Protocol):
    """Whoever plays. Made from `Options`; may raise `AgentError` or `UsageError` there."""

    model: str
    """What decides, for the record; empty when no model does."""

    async def play(self, episode: Episode) -> None:
        """Act until done or until `episode.over`. Raises `AgentError` when it cannot go on."""
