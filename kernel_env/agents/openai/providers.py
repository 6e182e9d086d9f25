"""Name the endpoints of model providers and of servers on this machine.

Each speaks the protocol of OpenAI's chat completions. Where they differ in what they accept, the
agent finds out: a parameter that is rejected is left out from then on. Listed here is only what an
endpoint silently takes for something else.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from kernel_env.agents.base import Options
from kernel_env.errors import UnknownName

OPENAI_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An endpoint."""

    name: str
    base_url: str
    key_variable: str = ""
    """The environment variable with the API key; empty if the endpoint needs none."""
    without: frozenset[str] = field(default_factory=frozenset)
    """Parameters that are never sent."""


def hosted(name: str, base_url: str, key_variable: str, without: Iterable[str] = ()) -> Provider:
    """Return an endpoint of a provider."""
    return Provider(
        name=name, base_url=base_url, key_variable=key_variable, without=frozenset(without)
    )


PROVIDERS = {
    each.name: each
    for each in (
        hosted("openai", "https://api.openai.com/v1", OPENAI_KEY, ["max_tokens"]),
        hosted(
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
            ["seed"],
        ),
        hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
        hosted("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", ["seed"]),
        hosted(
            "qwen",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "DASHSCOPE_API_KEY",
        ),
        hosted("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", ["seed"]),
        hosted("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        Provider(name="vllm", base_url="http://127.0.0.1:8000/v1"),
        Provider(name="sglang", base_url="http://127.0.0.1:30000/v1"),
        Provider(name="ollama", base_url="http://127.0.0.1:11434/v1"),
        Provider(name="llama.cpp", base_url="http://127.0.0.1:8080/v1"),
    )
}
"""The endpoints that `--provider` names."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where an agent sends its requests."""

    base_url: str
    provider: str
    """The provider's name; empty if it is not known."""
    key_variable: str
    needs_key: bool
    without: frozenset[str]


def endpoint_of(options: Options) -> Endpoint:
    """Return the endpoint of an agent: an address given, else the provider's, else OpenAI's.

    Raises `UnknownName` for an unknown provider.
    """
    if options.provider and options.provider not in PROVIDERS:
        raise UnknownName("provider", options.provider, PROVIDERS)
    given = options.base_url
    if not given and not options.provider:
        given = os.environ.get("OPENAI_BASE_URL", "").strip()
    usual = PROVIDERS[options.provider or "openai"]
    known = bool(options.provider) or not given
    return Endpoint(
        base_url=given or usual.base_url,
        provider=usual.name if known else "",
        key_variable=options.key_variable or (usual.key_variable if known else "") or OPENAI_KEY,
        needs_key=not given and bool(usual.key_variable),
        without=usual.without if known else frozenset(),
    )
