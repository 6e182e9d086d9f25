"""Ask a chat model for answers, whatever its endpoint supports, and charge what they cost.

Endpoints support different request parameters. A parameter that an endpoint rejects (seed, answer
limit, system role, tools) is omitted from then on. When an endpoint reports that the conversation
is too long, its limit is halved.
"""

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openai

from kernel_env.agents.base import Options
from kernel_env.agents.openai import answers, conversation
from kernel_env.agents.openai.answers import Answer, Completion
from kernel_env.agents.openai.client import ChatClient, error_words, is_too_long
from kernel_env.agents.openai.conversation import Turn
from kernel_env.agents.openai.prices import VARIABLE, Price, price_of
from kernel_env.agents.openai.providers import endpoint_of
from kernel_env.episode.budget import Spent
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentSetupError
from kernel_env.untrusted_text import quote_name

CHARACTERS_PER_TOKEN = 3
"""A low estimate: text has about four, code about three."""
MIN_ROOM = 2_000
"""Fewest characters of a conversation; a shorter one is not worth sending."""

LIMITS = ("max_tokens", "max_completion_tokens")
"""Names of the answer limit: most servers know the first, newer OpenAI models only the second."""
OPTIONAL_PARAMETERS = {
    "seed": re.compile(r"\bseed\b"),
    "max_completion_tokens": re.compile(r"max_completion_tokens"),
    "max_tokens": re.compile(r"max_tokens"),
    "system": re.compile(r"system.{0,12}(role|message|prompt|instruction)|role.{0,12}system"),
    "temperature": re.compile(r"temperature"),
    "tools": re.compile(r"\btools?\b|tool[_ ](use|call|choice)|function[_ ]?call"),
}
"""Optional request parameters, with the pattern of the error that rejects each.

They are dropped in this order, the least important first.
"""


class ChatModel:
    """A chat model behind an endpoint, asked by one agent."""

    def __init__(
        self, options: Options, *, instructions: str, tools: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Create the client.

        Args:
            options: the agent's; its endpoint, model, prices and limits.
            instructions: the system prompt.
            tools: the JSON schemas of the tools that the model can call.

        Raises:
            AgentSetupError: the key is missing.
            UsageError: the endpoint's URL or the table of prices is invalid.
        """
        endpoint = endpoint_of(options)
        self.name = options.model
        self.instructions = instructions
        self._options, self._tools = options, list(tools)
        self._price = price_of(options, endpoint.provider)
        self._client = ChatClient(endpoint, max_calls=options.max_calls)
        self._parameters = {*OPTIONAL_PARAMETERS} - endpoint.without
        if not tools:
            self._parameters -= {"tools"}
        self._answer_tokens = min(options.answer_tokens, options.context_tokens // 2)
        self._room = max(
            MIN_ROOM,
            (options.context_tokens - self._answer_tokens) * CHARACTERS_PER_TOKEN
            - (len(json.dumps(self._tools)) if tools else 0),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def check_price(self, episode: Episode) -> None:
        """Raise `AgentSetupError` when the budget limits the money but the price is not known."""
        if episode.setup.budget.money is not None and self._price is None:
            raise AgentSetupError(
                f"the budget limits the money but the price of {quote_name(self.name)} is not"
                " known; give --price-in and --price-out in US dollars per million tokens, or name"
                f" its --provider, or list it in a file that {VARIABLE} names"
            )

    def one_line(self, text: str) -> str:
        """Return the beginning of a text of the model as one line, without the key."""
        return self._client.one_line(text)

    async def ask(
        self,
        first: str,
        turns: Sequence[Turn],
        episode: Episode,
        *,
        seed: int | None = None,
        charge: Callable[[Spent], None] | None = None,
    ) -> Answer | None:
        """Request an answer and charge it to the episode; None when the time budget ends first.

        Args:
            first: the first message of the user.
            turns: the turns of the conversation so far, oldest first.
            episode: whose budget pays.
            seed: of the sampling; None for that of the options.
            charge: receives what the answer cost; None: the episode is charged.

        Raises `AgentError`, `AgentSetupError`, `ModelError`; see `client`.
        """
        while True:
            request = self._request(first, turns, self._options.seed if seed is None else seed)
            try:
                completion = await self._client.complete(request, episode)
                break
            except openai.APIStatusError as error:
                if self._reduce_request(error, request):
                    continue
                raise self._client.failure(error) from None  # the cause can contain the key
        if completion is None:
            return None
        cost = self._cost(completion, request)
        if charge is None:
            episode.charges = episode.charges.plus(cost)
        else:
            charge(cost)
        return answers.parse_answer(
            completion.choices[0] if completion.choices else answers.Choice()
        )

    def _request(self, first: str, turns: Sequence[Turn], seed: int) -> dict[str, Any]:
        parameters, options = self._parameters, self._options
        messages = conversation.messages(
            first,
            turns,
            instructions=self.instructions,
            room=self._room,
            tools="tools" in parameters,
            system="system" in parameters,
        )
        request: dict[str, Any] = {"model": self.name, "messages": messages}
        if "seed" in parameters:
            request["seed"] = seed
        if options.temperature is not None and "temperature" in parameters:
            request["temperature"] = options.temperature
        if limit := next((name for name in LIMITS if name in parameters), None):
            request[limit] = self._answer_tokens
        if "tools" in parameters:
            request["tools"] = self._tools
        return request

    def _reduce_request(self, error: openai.APIStatusError, request: dict[str, Any]) -> bool:
        """Shorten later requests, or omit the rejected parameter; False when neither applies."""
        if error.status_code in (401, 403, 429):
            return False
        text = error_words(error)
        if is_too_long(error):
            if self._room <= MIN_ROOM:
                return False
            sent = conversation.size(request["messages"])
            self._room = max(MIN_ROOM, min(self._room, sent) // 2)
            self._answer_tokens = max(256, self._answer_tokens // 2)
            return True
        sent_parameters = {*request, "system"} & self._parameters
        for name, pattern in OPTIONAL_PARAMETERS.items():
            if name in sent_parameters and pattern.search(text):
                self._parameters -= {name}
                if name == "temperature":
                    warnings.warn(
                        f"{self.name} takes no temperature; it samples as its provider chooses",
                        stacklevel=2,
                    )
                return True
        return False

    def _cost(self, completion: Completion, request: dict[str, Any]) -> Spent:
        """Return the tokens and the money of an answer, estimated when they are not reported."""
        usage = completion.usage or answers.Usage()
        prompted, answered = usage.prompt_tokens or 0, usage.completion_tokens or 0
        estimated = prompted <= 0 or (answered <= 0 and not usage.total_tokens)
        if estimated:
            if prompted <= 0:
                prompted = conversation.size(request["messages"]) // CHARACTERS_PER_TOKEN
            choices = [choice.model_dump_json() for choice in completion.choices or ()]
            answered = max(answered, len("".join(choices)) // CHARACTERS_PER_TOKEN)
        # Some servers report the tokens of the thinking only in the total.
        answered = max(answered, (usage.total_tokens or 0) - prompted)
        details = usage.prompt_tokens_details or answers.PromptDetails()
        cached = min(prompted, max(0, details.cached_tokens or 0))
        price = self._price or Price(prompt=0, cached=0, answer=0)
        tokens = prompted + answered
        return Spent(
            tokens=tokens,
            money=price.of(prompt=prompted, cached=cached, answer=answered),
            estimated_tokens=tokens * estimated,
            prompt_tokens=prompted,
            cached_tokens=cached,
        )
