"""Asks a model behind any OpenAI-compatible endpoint what to do next, and does it.

A model that can call tools gets the five actions as tools. One that cannot may
answer with an action as JSON, or with code in a fenced block (`answers`). An answer
that is neither is shown back to it with what was wanted, a few times; then it is
given up. What it sees is kept within its context (`conversation`).

Endpoints differ in what they take. What one refuses is left out from then on: the
seed, the limit of an answer, the system's role, tools; and where the conversation is
too long after all, half of it.
"""

import asyncio
import ipaddress
import json
import os
import re
from typing import Any
from urllib.parse import urlsplit

import openai

from kernel_env.agents.base import Options
from kernel_env.agents.openai import answers, conversation
from kernel_env.agents.openai.answers import Answer, Completion, Fault
from kernel_env.agents.openai.conversation import Turn
from kernel_env.episode import json_codec
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentError, UsageError

PATIENCE = 3
"""Answers in a row that are no action, before the model is given up."""
RETRIES = 4
"""Of one request, by the client, with growing pauses."""
CHARACTERS_PER_TOKEN = 3
"""Cautious: text has about four, code about three."""
LEAST_ROOM = 2_000
"""Characters of conversation; with fewer there is nothing to be decided."""
OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"

LIMITS = ("max_tokens", "max_completion_tokens")
"""Of an answer: most servers know the first name, newer models of OpenAI's only the second."""
TOO_LONG = re.compile(
    r"context.{0,12}(length|size|window)|exceed_context|(prompt|input) is too long"
    r"|too many (input )?tokens|token count.*exceeds|reduce the length"
)
OPTIONAL = {
    "seed": re.compile(r"\bseed\b"),
    "max_completion_tokens": re.compile(r"max_completion_tokens"),
    "max_tokens": re.compile(r"max_tokens"),
    "system": re.compile(r"system.{0,12}(role|message|prompt|instruction)|role.{0,12}system"),
    "tools": re.compile(r"\btools?\b|tool[_ ](use|call|choice)|function[_ ]?call"),
}
"""What a request can do without, and how one knows that it is refused; the dearest comes last."""


class OpenAIAgent:
    """One conversation, one episode."""

    def __init__(self, options: Options) -> None:
        """Raises `AgentError` or `UsageError` when there is no model, no key, or no such URL."""
        if not options.model:
            raise AgentError("the openai agent needs a model; give one with --model NAME")
        base_url = options.base_url or os.environ.get("OPENAI_BASE_URL", "").strip()
        self.model = options.model
        self.options = options
        self.where = shown_url(base_url or OPENAI)
        self._key = key_for(base_url)
        self._client = client_for(base_url or OPENAI, self._key)
        self._wanted = {*OPTIONAL} if base_url else {*OPTIONAL} - {"max_tokens"}
        self._answer_tokens = min(options.answer_tokens, options.context_tokens // 2)
        self._room = max(
            LEAST_ROOM,
            (options.context_tokens - self._answer_tokens) * CHARACTERS_PER_TOKEN
            - len(json.dumps(json_codec.tools())),
        )

    async def play(self, episode: Episode) -> None:
        """Ask, act, show, until the model is done or the budget is."""
        check_prices(self.options, episode)
        first = conversation.first_words(episode)
        turns: list[Turn] = []
        nonsense = 0
        async with self._client:
            while not episode.over:
                answer = await self._ask(first, turns, episode)
                if answer is None:
                    continue  # time is up
                if answer.done:
                    return
                fault = answer.calls[0].meant
                nonsense = nonsense + 1 if isinstance(fault, Fault) else 0
                if isinstance(fault, Fault) and nonsense > PATIENCE:
                    raise AgentError(
                        f"{self.model} gave {nonsense} answers in a row that are no action;"
                        f" the last: {self._clean(answer.words)!r} ({self._clean(fault.reason)})"
                    )
                turns.append(await taken(answer, episode, images=self.options.images))

    # ── one question, one answer ──────────────────────────────────────────────────────────

    async def _ask(self, first: str, turns: list[Turn], episode: Episode) -> Answer | None:
        """The model's answer, charged to the episode; None when time ran out first."""
        try:
            async with asyncio.timeout(episode.rules.budget.seconds_left(episode.spent)):
                while (completion := await self._complete(first, turns, episode)) is None:
                    pass  # something was refused, and is left out now
        except TimeoutError:
            return None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise AgentError(
                f"no answer from {self.where} ({self._clean(str(cause) or type(cause).__name__)});"
                " see whether it runs, and whether --base-url or OPENAI_BASE_URL is right"
            ) from None  # here and below: what is behind an error may show the key
        except openai.APIStatusError as error:
            raise AgentError(self._refusal(error)) from None
        except openai.OpenAIError as error:
            raise AgentError(f"{self.where}: {self._clean(str(error))}") from None
        return answers.understood(completion.choices[0] if completion.choices else answers.Choice())

    async def _complete(self, first: str, turns: list[Turn], episode: Episode) -> Completion | None:
        """What the endpoint answers; None when it refused something that can be left out."""
        request = self._request(first, turns)
        try:
            raw = await self._client.chat.completions.with_raw_response.create(**request)
        except openai.APIStatusError as error:
            if self._leave_out(error, request):
                return None
            raise
        try:
            completion = answers.read(raw.text)
        except (ValueError, RecursionError):
            raise AgentError(
                f"{self.where} did not answer with a chat completion but with"
                f" {self._clean(raw.text)!r}; is the URL right? Most end in /v1"
            ) from None
        self._charge(completion, request, episode)
        return completion

    def _request(self, first: str, turns: list[Turn]) -> dict[str, Any]:
        wanted, options = self._wanted, self.options
        messages = conversation.messages(
            first, turns, room=self._room, tools="tools" in wanted, system="system" in wanted
        )
        request: dict[str, Any] = {"model": self.model, "messages": messages}
        if "seed" in wanted:
            request["seed"] = options.seed
        if options.temperature is not None:
            request["temperature"] = options.temperature
        if limit := next((name for name in LIMITS if name in wanted), None):
            request[limit] = self._answer_tokens
        if "tools" in wanted:
            request["tools"] = json_codec.tools()
        return request

    def _leave_out(self, error: openai.APIStatusError, request: dict[str, Any]) -> bool:
        """Ask for less from now on, if it is that which the endpoint refuses."""
        if error.status_code in (401, 403, 429):
            return False
        said = f"{error.param or ''} {error.code or ''} {error.message}".lower()
        if error.status_code == 413 or TOO_LONG.search(said):
            if self._room <= LEAST_ROOM:
                return False
            sent = conversation.size(request["messages"])
            self._room = max(LEAST_ROOM, min(self._room, sent) // 2)
            self._answer_tokens = max(256, self._answer_tokens // 2)
            return True
        sent_options = {*request, "system"} & self._wanted
        for name, pattern in OPTIONAL.items():
            if name in sent_options and pattern.search(said):
                self._wanted -= {name}
                return True
        return False

    def _charge(self, completion: Completion, request: dict[str, Any], episode: Episode) -> None:
        """Count what an answer took; about how much, where the server does not say."""
        usage = completion.usage or answers.Usage()
        asked, answered = usage.prompt_tokens or 0, usage.completion_tokens or 0
        if asked <= 0:
            asked = conversation.size(request["messages"]) // CHARACTERS_PER_TOKEN
            choices = [choice.model_dump_json() for choice in completion.choices or ()]
            answered = max(answered, len("".join(choices)) // CHARACTERS_PER_TOKEN)
        # Some servers count thinking in the total alone.
        answered = max(answered, (usage.total_tokens or 0) - asked)
        prices = self.options.price_in or 0.0, self.options.price_out or 0.0
        money = (asked * prices[0] + answered * prices[1]) / 1e6
        episode.charge(tokens=asked + answered, money=money)

    # ── what went wrong, in one line without the key ──────────────────────────────────────

    def _refusal(self, error: openai.APIStatusError) -> str:
        if error.status_code == 401:
            wrong = f"refused the key in {KEY}" if self._key else f"wants a key: set {KEY}"
            return f"{self.where} {wrong}"
        body = error.body if isinstance(error.body, dict) else {}
        said = body.get("message") if isinstance(body.get("message"), str) else error.message
        return f"{self.where} answered {error.status_code}: {self._clean(str(said))}"

    def _clean(self, text: str) -> str:
        """The beginning of somebody else's words."""
        if self._key:
            text = text.replace(self._key, "[key]")
        text = " ".join(text.split())
        return text if len(text) <= 300 else f"{text[:300]}…"


async def taken(answer: Answer, episode: Episode, *, images: bool) -> Turn:
    """Do what a model asked for, in its order, up to the first thing that fails.

    What it asked for after that was meant for another state of affairs.
    """
    replies: list[str] = []
    pictures: list[str] = []
    stopped = ""
    for number, call in enumerate(answer.calls):
        if over := episode.over:
            stopped = over
        if stopped:
            replies.append(f"not done: {stopped}")
        elif isinstance(call.meant, Fault):
            replies.append(call.meant.reason)
            stopped = "what came before it was no action"
        else:
            await episode.act(call.meant, thought=answer.thought if number == 0 else "")
            seen = episode.observation
            replies.append(seen.text)
            pictures += seen.images
            stopped = (
                "the code before it failed"
                if seen.error or seen.restored or seen.state_lost
                else ""
            )
    return Turn(answer=answer, replies=tuple(replies), images=tuple(pictures) if images else ())


def check_prices(options: Options, episode: Episode) -> None:
    """A limit of money means nothing where no price is known."""
    if episode.rules.budget.money is not None and not (options.price_in or options.price_out):
        raise AgentError(
            "the budget limits the money, and no price is known;"
            " give --price-in and --price-out, dollars for a million tokens"
        )


# ── the endpoint ──────────────────────────────────────────────────────────────────────────


def key_for(base_url: str) -> str:
    """The key in the environment; an endpoint of one's own may need none."""
    key = os.environ.get(KEY, "").strip()
    if not key and not base_url:
        raise AgentError(f"no key: set {KEY}, or --base-url for an endpoint that needs none")
    if not (key.isascii() and key.isprintable()):
        raise AgentError(f"{KEY} holds characters that no key has; set it again")
    return key


def shown_url(base_url: str) -> str:
    """The URL without what is secret in it."""
    try:
        parts = urlsplit(base_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise UsageError(f"the endpoint's URL is none: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(
            "the endpoint's URL (--base-url or OPENAI_BASE_URL) must look like http://host:port/v1"
        )
    return f"{parts.scheme}://{host}{port}{parts.path}"


def client_for(base_url: str, key: str) -> openai.AsyncOpenAI:
    """A client; one that talks to this machine goes through no proxy."""
    try:
        direct = openai.DefaultAsyncHttpxClient(trust_env=False) if is_here(base_url) else None
        return openai.AsyncOpenAI(
            api_key=key or "none", base_url=base_url, max_retries=RETRIES, http_client=direct
        )
    except (ImportError, ValueError) as error:  # a proxy in the environment that it cannot use
        raise UsageError(f"cannot prepare to talk to {shown_url(base_url)}: {error}") from error


def is_here(base_url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
