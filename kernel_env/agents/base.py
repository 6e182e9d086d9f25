"""Define the agent protocol and the options of the built-in agents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kernel_env.episode.episode import Episode
from kernel_env.field_docs import show_fields


@show_fields
@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an agent. Each agent uses the ones that apply to it and ignores the others."""

    script: Path | None = None
    """The file that `scripted` plays: a notebook, a JSON list of actions, or a journal."""
    model: str = ""
    """The model's name at the endpoint; required by `openai` and `tree`."""
    provider: str = ""
    """The name of the model's provider; see `agents.openai.providers`."""
    base_url: str | None = None
    """The URL of an OpenAI-compatible endpoint; None: the provider's, else OPENAI_BASE_URL, else
    OpenAI's own."""
    key_variable: str = ""
    """The environment variable with the endpoint's API key; empty: the provider's, else
    OPENAI_API_KEY."""
    temperature: float | None = None
    """The sampling temperature; None: the endpoint's default."""
    price_in: float | None = None
    """US dollars per million prompt tokens; None: see `agents.openai.prices`."""
    price_out: float | None = None
    """US dollars per million completion tokens; None: see `agents.openai.prices`."""
    context_tokens: int = 32_000
    """The model's context in tokens: the conversation and the answer together."""
    answer_tokens: int = 4_000
    """The most tokens of one answer."""
    max_calls: int = 100
    """The most requests that an endpoint gets at once from all agents of the process. The limit
    adapts to the endpoint's rate limit; see `agents.openai.limits`."""
    images: bool = False
    """Whether the pictures of observations are sent to the model."""
    seed: int = 0
    """The seed of the episode and of the model's sampling."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of this agent alone, by name; `--set NAME=VALUE` on the command line."""


class Agent(Protocol):
    """Plays episodes.

    An agent's class takes `Options`; its constructor can raise `AgentError` or `UsageError`.

    An agent that only runs code of the operator's own can have an attribute `trusted = True`.
    Without it, `auto` does not fall back to the sandbox `local`, which isolates nothing.

    A class that lists the names of its settings as `settings = ("width", …)` gets no others; one
    without the attribute gets all, and checks them itself.
    """

    model: str
    """The model's name, for the result; empty when the agent uses no model."""

    async def play(self, episode: Episode) -> None:
        """Act until the agent is done or `episode.over` names an exhausted budget.

        Raises:
            AgentError: the agent cannot continue.
        """
