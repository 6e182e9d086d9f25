"""Play episodes with a chat model behind any OpenAI-compatible endpoint.

The five actions are sent as tools. A model without tool calls can answer with an action as JSON or
with code in a fenced block (`answers`). An invalid answer is returned to the model with an
explanation; after several in a row the agent fails. The conversation is kept within the model's
context (`conversation`).

Endpoints support different request parameters. A parameter that an endpoint rejects (seed, answer
limit, system role, tools) is omitted from then on. When an endpoint reports that the conversation
is too long, its limit is halved.
"""

import json
import re
import warnings
from contextlib import aclosing
from typing import Any

import openai

from kernel_env.agents.base import Options
from kernel_env.agents.openai import answers, conversation
from kernel_env.agents.openai.answers import Answer, Completion, Fault
from kernel_env.agents.openai.client import ChatClient, error_words, is_too_long
from kernel_env.agents.openai.conversation import Turn
from kernel_env.agents.openai.prices import VARIABLE, Price, price_of
from kernel_env.agents.openai.providers import endpoint_of
from kernel_env.episode import json_codec
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentError, AgentSetupError
from kernel_env.untrusted_text import escape_line, quote_name

MAX_INVALID_ANSWERS = 3
"""Largest number of consecutive answers without a valid action that are returned to the model."""
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


class OpenAIAgent:
    """An agent that plays one episode as one conversation with a chat model."""

    settings = ()

    def __init__(self, options: Options) -> None:
        """Create the client.

        Raises:
            AgentSetupError: the model's name or the key is missing.
            UsageError: the endpoint's URL is invalid.
        """
        if not options.model:
            raise AgentSetupError("the openai agent needs a model; give one with --model NAME")
        endpoint = endpoint_of(options)
        self.model = options.model
        self.options = options
        self._price = price_of(options, endpoint.provider)
        self._client = ChatClient(endpoint, max_calls=options.max_calls)
        self._parameters = {*OPTIONAL_PARAMETERS} - endpoint.without
        self._answer_tokens = min(options.answer_tokens, options.context_tokens // 2)
        self._room = max(
            MIN_ROOM,
            (options.context_tokens - self._answer_tokens) * CHARACTERS_PER_TOKEN
            - len(json.dumps(json_codec.tools())),
        )

    async def play(self, episode: Episode) -> None:
        """Ask the model and execute its actions until it is done or the budget is used up."""
        check_price(self._price, self.model, episode)
        episode.note("instructions", conversation.SYSTEM)
        first = conversation.task_message(episode)
        turns: list[Turn] = []
        invalid = 0
        async with aclosing(self._client):
            while not episode.over:
                answer = await self._ask(first, turns, episode)
                if answer is None:
                    continue  # the time budget is used up
                fault = answer.calls[0].action if answer.calls else None
                invalid = invalid + 1 if isinstance(fault, Fault) else 0
                if answer.done or (invalid > 1 and is_finished(answer, episode)):
                    episode.note("last_words", answer.thought)
                    return
                if isinstance(fault, Fault) and invalid > MAX_INVALID_ANSWERS:
                    episode.note("refused", answer.thought, reason=fault.reason)
                    raise AgentError(
                        f"{self.model} gave {invalid} consecutive answers without a valid action;"
                        f" the last: {self._client.one_line(answer.text)!r}"
                        f" ({self._client.one_line(fault.reason)})"
                    )
                turns.append(await take_actions(answer, episode, images=self.options.images))

    # ── requests ──────────────────────────────────────────────────────────────────────────

    async def _ask(self, first: str, turns: list[Turn], episode: Episode) -> Answer | None:
        """Request an answer and charge it to the episode; None when the time budget ends first."""
        while True:
            request = self._request(first, turns)
            try:
                completion = await self._client.complete(request, episode)
                break
            except openai.APIStatusError as error:
                if self._reduce_request(error, request):
                    continue
                raise self._client.failure(error) from None  # the cause can contain the key
        if completion is None:
            return None
        self._charge(completion, request, episode)
        return answers.parse_answer(
            completion.choices[0] if completion.choices else answers.Choice()
        )

    def _request(self, first: str, turns: list[Turn]) -> dict[str, Any]:
        parameters, options = self._parameters, self.options
        messages = conversation.messages(
            first,
            turns,
            room=self._room,
            tools="tools" in parameters,
            system="system" in parameters,
        )
        request: dict[str, Any] = {"model": self.model, "messages": messages}
        if "seed" in parameters:
            request["seed"] = options.seed
        if options.temperature is not None and "temperature" in parameters:
            request["temperature"] = options.temperature
        if limit := next((name for name in LIMITS if name in parameters), None):
            request[limit] = self._answer_tokens
        if "tools" in parameters:
            request["tools"] = json_codec.tools()
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
                        f"{self.model} takes no temperature; it samples as its provider chooses",
                        stacklevel=2,
                    )
                return True
        return False

    def _charge(self, completion: Completion, request: dict[str, Any], episode: Episode) -> None:
        """Charge the tokens and the money of an answer, estimated when they are not reported."""
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
        episode.charge(
            tokens=prompted + answered,
            money=price.of(prompt=prompted, cached=cached, answer=answered),
            estimated=estimated,
            prompt_tokens=prompted,
            cached_tokens=cached,
        )


def is_finished(answer: Answer, episode: Episode) -> bool:
    """Return whether an answer without an action, after an explanation, ends the episode.

    It does if a submission has been graded, or if the model says that it is done. A model that only
    talks and has submitted nothing is asked again, and fails in the end: it gave up.
    """
    plain = bool(answer.text) and answer.calls[0].action is answers.NO_ACTION
    graded = episode.progress.best is not None
    return plain and (graded or answers.SAYS_DONE.search(answer.text[-200:]) is not None)


async def take_actions(answer: Answer, episode: Episode, *, images: bool) -> Turn:
    """Execute the actions of an answer in order, up to the first one that fails.

    The actions after a failed one are not executed, because they expect its effects.
    """
    replies: list[str] = []
    pictures: list[str] = []
    stopped = ""
    for number, call in enumerate(answer.calls):
        if over := episode.over:
            stopped = over
        if stopped:
            replies.append(f"not executed: {stopped}")
        elif isinstance(call.action, Fault):
            said = f"{call.name}({call.arguments})" if call.id else answer.thought
            episode.note("refused", said, reason=call.action.reason)
            replies.append(escape_line(call.action.reason))
            stopped = "an earlier call of this answer was invalid"
        else:
            await episode.act(call.action, thought=answer.thought if number == 0 else "")
            observation = episode.observation
            replies.append(observation.text)
            pictures += observation.images
            stopped = (
                "the code of an earlier call of this answer failed"
                if observation.error or observation.restored or observation.state_lost
                else ""
            )
    return Turn(answer=answer, replies=tuple(replies), images=tuple(pictures) if images else ())


def check_price(price: Price | None, model: str, episode: Episode) -> None:
    """Raise `AgentSetupError` when the budget limits the money but the price is not known."""
    if episode.setup.budget.money is not None and price is None:
        raise AgentSetupError(
            f"the budget limits the money but the price of {quote_name(model)} is not known;"
            " give --price-in and --price-out in US dollars per million tokens, or name its"
            f" --provider, or list it in a file that {VARIABLE} names"
        )
