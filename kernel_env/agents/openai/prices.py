"""Look up what a model costs: options first, then the operator's file, then a dated table."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from kernel_env.agents.base import Options
from kernel_env.errors import UsageError

TABLE = Path(__file__).with_name("prices.toml")
VARIABLE = "KERNEL_ENV_PRICES"
"""The environment variable that names the operator's own table."""
DATED = re.compile(r"(-latest|-preview|-exp|[-@]\d[\d-]*)+")
"""What a provider appends to a model's name for one of its versions."""
ORIGINS = {
    "openai": "openai",
    "google": "gemini",
    "deepseek": "deepseek",
    "anthropic": "anthropic",
    "x-ai": "xai",
}
"""The provider whose prices a router takes, by the first part of the router's model names."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    cached: float
    """For sent tokens that the provider had cached."""
    answer: float

    def of(self, *, prompt: int, cached: int, answer: int) -> float:
        """Return the US dollars of a request; `cached` of the `prompt` tokens were cached."""
        full = prompt - cached
        return (full * self.prompt + cached * self.cached + answer * self.answer) / 1e6


class Entry(BaseModel):
    """The price of a model in a table."""

    model_config = ConfigDict(extra="forbid")

    prompt: Amount
    cached: Amount | None = None
    """The same as `prompt` if it is missing."""
    answer: Amount

    @property
    def price(self) -> Price:
        """Return the price."""
        cached = self.prompt if self.cached is None else self.cached
        return Price(prompt=self.prompt, cached=cached, answer=self.answer)


class Models(RootModel[dict[str, Entry]]):
    """The models of a provider in a table, by name."""


def price_of(options: Options, provider: str) -> Price | None:
    """Return what the model of an agent costs; None if it is not known.

    Args:
        options: the agent's; its prices come first.
        provider: the name of the endpoint's provider; empty if it is not known.

    Raises `UsageError` if the operator's table cannot be read.
    """
    if options.price_in is not None or options.price_out is not None:
        sent = options.price_in or 0.0
        return Price(prompt=sent, cached=sent, answer=options.price_out or 0.0)
    for table in tables():
        if found := price_in(table, provider, options.model):
            return found
    return None


def price_in(table: Mapping[str, Models], provider: str, model: str) -> Price | None:
    """Return the price of a model in a table: that of its own name, or of the longest beginning."""
    origin, slash, name = model.partition("/")
    if slash and provider not in table:
        provider, model = ORIGINS.get(origin, ""), name
    prices = table[provider].root if provider in table else {}
    names = [
        known
        for known in prices
        if model == known or (model.startswith(known) and DATED.fullmatch(model[len(known) :]))
    ]
    return prices[max(names, key=len)].price if names else None


def tables() -> Iterator[dict[str, Models]]:
    """Yield the operator's table, if there is one, and ours. Raises `UsageError`."""
    if own := os.environ.get(VARIABLE, "").strip():
        yield read(Path(own))
    yield read(TABLE)


def read(path: Path) -> dict[str, Models]:
    """Read a table. Raises `UsageError`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        found.pop("date", None)
        return {name: Models.model_validate(models) for name, models in found.items()}
    except OSError as error:
        raise UsageError(f"the prices {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"the prices {path}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise UsageError(f"the prices {path} are not TOML: {error}") from error
