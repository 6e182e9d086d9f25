"""Send requests to a chat model's endpoint: key, retries, rate limits, and errors by who must act.

A request that the endpoint could not take for now (429, a server error, no connection) is sent
again after a pause: as long as Retry-After says, otherwise twice as long each time. The agent's
clock stands still in these pauses, and while its request waits for others; see `limits`.

    ModelError        still no answer after the last retry
    AgentSetupError   no access, no such model, no credit, or not an endpoint at all
    AgentError        the conversation is too long for the model
"""

import asyncio
import email.utils
import ipaddress
import os
import random
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import openai

from kernel_env.agents.openai import answers
from kernel_env.agents.openai.answers import Completion
from kernel_env.agents.openai.limits import limit_of
from kernel_env.agents.openai.providers import Endpoint
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentError, AgentSetupError, ModelError, UsageError
from kernel_env.untrusted_text import escape_line

RETRIES = 4
"""How often a request is sent again."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 8.0
"""Pauses before the first retry and, at most, before later ones."""
MAX_RETRY_AFTER_S = 600.0
"""An endpoint that wants a longer pause ends the episode."""
TRANSIENT = (408, 409, 429)
"""Statuses of a request that can succeed later; all of 500 and more can, too."""
CONTEXT_ERROR = re.compile(
    r"context.{0,12}(length|size|window)|exceed_context|(prompt|input) is too long"
    r"|too many (input )?tokens|token count.*exceeds|reduce the length"
)
"""The pattern of errors that reject a conversation as too long."""
NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that no pause helps against."""


class ChatClient:
    """A connection to an endpoint, for one episode."""

    def __init__(self, endpoint: Endpoint, *, max_calls: int) -> None:
        """Create the client, for at most `max_calls` requests at once.

        Raises `AgentSetupError` without a key, `UsageError` for an invalid URL.
        """
        self.endpoint = shown_url(endpoint.base_url)
        self.max_calls = max_calls
        self.key_variable = endpoint.key_variable
        self._key = read_key(endpoint.key_variable, required=endpoint.needs_key)
        self._client = make_client(endpoint.base_url, self._key)
        self._answered = False
        """Whether this endpoint has answered a request."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def complete(self, request: dict[str, object], episode: Episode) -> Completion | None:
        """Send a request until it is answered; None if the time budget ends first.

        Raises `openai.APIStatusError` for a request that the endpoint rejects, because it may
        accept a smaller one, `AgentSetupError` and `ModelError`.
        """
        attempt = 0
        while True:
            limit = limit_of(self.endpoint, self.max_calls)
            with episode.turns.queued():
                await limit.acquire()
            try:
                left = episode.setup.budget.seconds_left(episode.spent)
                async with asyncio.timeout(left):
                    answer = await self._client.chat.completions.with_raw_response.create(**request)  # type: ignore[call-overload]
                limit.succeeded()
                return self._read(answer.text)
            except TimeoutError:
                return None
            except openai.APIStatusError as error:
                if error.status_code == 429:
                    limit.rate_limited()
                pause = retry_after_s(error.response.headers)
                too_long = (pause or 0) > MAX_RETRY_AFTER_S
                if attempt == RETRIES or too_long or not is_transient(error):
                    raise
            except openai.APIConnectionError as error:
                if attempt == RETRIES:
                    raise ModelError(self._no_answer(error)) from None  # the cause can have the key
                pause = None
            except openai.OpenAIError as error:
                raise AgentError(f"{self.endpoint}: {self.one_line(str(error))}") from None
            finally:
                limit.release()
            with episode.turns.queued():
                await asyncio.sleep(usual_pause_s(attempt) if pause is None else pause)
            attempt += 1

    def _read(self, body: str) -> Completion:
        try:
            completion = answers.read(body)
        except (ValueError, RecursionError):
            kind = ModelError if self._answered else AgentSetupError
            raise kind(
                f"{self.endpoint} answered with {self.one_line(body)!r}, expected a chat"
                " completion; check the URL, most end in /v1"
            ) from None
        self._answered = True
        return completion

    # ── error texts: one line, without the key ────────────────────────────────────────────

    def failure(self, error: openai.APIStatusError) -> AgentError:
        """Return the error of a request that was rejected, and that cannot be made smaller."""
        text = self._error_text(error)
        if is_too_long(error):
            return AgentError(text)
        if is_transient(error):
            return ModelError(text, retry_after_s=retry_after_s(error.response.headers))
        return AgentSetupError(text)

    def _error_text(self, error: openai.APIStatusError) -> str:
        if error.status_code == 401:
            if self._key:
                return f"{self.endpoint} rejected the key in {self.key_variable}; check it"
            return f"{self.endpoint} requires a key; set {self.key_variable}"
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") if isinstance(body.get("message"), str) else error.message
        return f"{self.endpoint} answered {error.status_code}: {self.one_line(str(message))}"

    def _no_answer(self, error: openai.APIConnectionError) -> str:
        cause = error.__cause__ or error
        return (
            f"no answer from {self.endpoint}"
            f" ({self.one_line(str(cause) or type(cause).__name__)}); check that the server"
            " runs and that --base-url or OPENAI_BASE_URL is correct"
        )

    def one_line(self, text: str) -> str:
        """Return the beginning of an external text as one line, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        text = escape_line(" ".join(text.split()))
        return text if len(text) <= 300 else f"{text[:300]}…"


def error_words(error: openai.APIStatusError) -> str:
    """Return all that an endpoint says about a rejected request, in lower case."""
    return f"{error.param or ''} {error.code or ''} {error.message}".lower()


def is_too_long(error: openai.APIStatusError) -> bool:
    """Return whether an endpoint rejects a conversation as too long."""
    return error.status_code == 413 or CONTEXT_ERROR.search(error_words(error)) is not None


# ── retries ───────────────────────────────────────────────────────────────────────────────


def is_transient(error: openai.APIStatusError) -> bool:
    """Return whether the same request can succeed later."""
    if error.status_code == 429:
        return error.code not in NO_CREDIT
    return error.status_code in TRANSIENT or error.status_code >= 500


def usual_pause_s(attempt: int) -> float:
    """Return the pause after a failed attempt, 0 for the first; a part of it is random."""
    pause: float = min(FIRST_PAUSE_S * 2**attempt, MAX_PAUSE_S)
    return pause * random.uniform(0.75, 1)  # noqa: S311 - no secret


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that an endpoint asks for, in seconds; None if it does not say.

    Retry-After is a number of seconds or a date (RFC 9110, section 10.2.3); some endpoints send
    milliseconds in retry-after-ms.
    """
    value = headers.get("retry-after", "")
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


# ── the endpoint ──────────────────────────────────────────────────────────────────────────


def read_key(variable: str, *, required: bool) -> str:
    """Read the API key from a variable of the environment. Raises `AgentSetupError`."""
    key = os.environ.get(variable, "").strip()
    if not key and required:
        raise AgentSetupError(
            f"no key: set {variable}, or --base-url for an endpoint that needs none"
        )
    if not (key.isascii() and key.isprintable()):
        raise AgentSetupError(
            f"{variable} contains characters other than printable ASCII; set it again"
        )
    return key


def shown_url(base_url: str) -> str:
    """Return the URL without user, password and query; raise `UsageError` when it is invalid."""
    try:
        parts = urlsplit(base_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise UsageError(f"the endpoint's URL is invalid: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(
            "the endpoint's URL (--base-url or OPENAI_BASE_URL) must look like http://host:port/v1"
        )
    return f"{parts.scheme}://{host}{port}{parts.path}"


def make_client(base_url: str, key: str) -> openai.AsyncOpenAI:
    """Create a client; for an endpoint on this machine, without the proxies of the environment."""
    try:
        direct = openai.DefaultAsyncHttpxClient(trust_env=False) if is_loopback(base_url) else None
        return openai.AsyncOpenAI(
            api_key=key or "none", base_url=base_url, max_retries=0, http_client=direct
        )
    except (ImportError, ValueError) as error:  # an unsupported proxy in the environment
        raise UsageError(f"cannot create a client for {shown_url(base_url)}: {error}") from error


def is_loopback(base_url: str) -> bool:
    """Return whether a URL names this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
