"""Asks a model behind any OpenAI-compatible endpoint what to do next, and does it.

A model that can call tools gets the five actions as tools. One that cannot may
answer with an action as JSON, or with code in a fenced block. An answer that is
neither is shown back to it with what was wanted, a few times; then it is given up.
"""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from kernel_env import codec
from kernel_env.action import Action, ExecuteCode
from kernel_env.agents.base import Options
from kernel_env.episode import Episode
from kernel_env.errors import ActionError, AgentError
from kernel_env.observation import Observation, clipped

PATIENCE = 3
"""Answers in a row that are no action, before the model is given up."""
RETRIES = 4
"""Of one request, by the client, with growing pauses."""
CHARACTERS_PER_TOKEN = 3
"""Cautious: text has about four, code about three."""
MOST_IMAGES = 2
DONE = "DONE"

Message = dict[str, Any]

FENCE = re.compile(r"```[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Call:
    """An action that a model asked for, and where its answer goes."""

    action: Action
    tool_call_id: str | None = None


class OpenAIAgent:
    """One conversation, one episode."""

    def __init__(self, options: Options) -> None:
        """Raises `AgentError` when there is no model or no key."""
        if not options.model:
            raise AgentError("the openai agent needs a model; give one with --model NAME")
        key = os.environ.get("OPENAI_API_KEY", "")
        base_url = options.base_url or os.environ.get("OPENAI_BASE_URL")
        if not key and not base_url:
            raise AgentError(
                "no key: set OPENAI_API_KEY, or --base-url for an endpoint that needs none"
            )
        self.model = options.model
        self.options = options
        self.where = base_url or "OpenAI"
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=base_url, max_retries=RETRIES
        )
        self._tools: list[Any] = codec.tools()

    async def play(self, episode: Episode) -> None:
        """Ask, act, show, until the model is done or the budget is."""
        opening = [
            Message(role="system", content=SYSTEM),
            Message(role="user", content=first_words(episode)),
        ]
        turns: list[list[Message]] = []
        nonsense = 0
        async with self._client:
            while not episode.over:
                answer = await self._ask(fitting(opening, turns, self._room), episode)
                if answer is None:
                    return
                if said_done(answer):
                    return
                turn = [said(answer)]
                turns.append(turn)
                try:
                    calls = list(understood(answer))
                except ActionError as error:
                    nonsense += 1
                    if nonsense > PATIENCE:
                        raise AgentError(
                            f"{self.model} gave {nonsense} answers in a row that are no action;"
                            f" the last: {clipped(answer.content or '', 200)!r}"
                        ) from error
                    turn += complaint(answer, str(error))
                    continue
                nonsense = 0
                for call in calls:
                    if not episode.over:
                        await episode.act(call.action, thought=answer.content or "")
                        turn += shown(call, episode.observation, images=self.options.images)
                    elif call.tool_call_id:
                        turn += reply(call.tool_call_id, "not done: the budget is used up")

    @property
    def _room(self) -> int:
        """Characters that the conversation may have."""
        tokens = self.options.context_tokens - self.options.answer_tokens
        return max(2_000, tokens * CHARACTERS_PER_TOKEN)

    async def _ask(self, messages: list[Message], episode: Episode) -> ChatCompletionMessage | None:
        """The model's answer, charged to the episode; None when time ran out first."""
        left = episode.rules.budget.seconds_left(episode.spent)
        try:
            async with asyncio.timeout(left):
                completion = await self._complete(messages)
        except TimeoutError:
            return None
        except openai.AuthenticationError as error:
            raise AgentError(f"{self.where} refused the key in OPENAI_API_KEY") from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise AgentError(f"no connection to {self.where}: {cause}") from error
        except openai.APIStatusError as error:
            raise AgentError(
                f"{self.where} answered {error.status_code}: {error.message}"
            ) from error
        except openai.OpenAIError as error:
            raise AgentError(f"{self.where}: {error}") from error
        self._charge(completion, episode)
        if not completion.choices:
            return ChatCompletionMessage(role="assistant", content="")
        return completion.choices[0].message

    async def _complete(self, messages: list[Message]) -> ChatCompletion:
        options: dict[str, Any] = {"max_tokens": self.options.answer_tokens}
        if self.options.temperature is not None:
            options["temperature"] = self.options.temperature
        if self._tools:
            options["tools"] = self._tools
        try:
            completion = await self._client.chat.completions.create(
                model=self.model,
                messages=messages,  # type: ignore[arg-type]
                seed=self.options.seed,
                **options,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not (self._tools and "tool" in str(error).lower()):
                raise
            self._tools = []  # this endpoint takes no tools: from now on, words
            return await self._complete(without_tools(messages))
        if not isinstance(completion, ChatCompletion):  # a server that speaks something else
            raise AgentError(f"{self.where} did not answer with a chat completion")
        return completion

    def _charge(self, completion: ChatCompletion, episode: Episode) -> None:
        usage, options = completion.usage, self.options
        if usage is None:
            return
        money = (
            usage.prompt_tokens * (options.price_in or 0.0)
            + usage.completion_tokens * (options.price_out or 0.0)
        ) / 1e6
        episode.charge(tokens=usage.total_tokens, money=money)


# ── what the model said ───────────────────────────────────────────────────────────────────


def said_done(answer: ChatCompletionMessage) -> bool:
    """The model says that it is finished, and asks for nothing more."""
    last_line = (answer.content or "").strip().rpartition("\n")[2]
    return not answer.tool_calls and last_line.strip("*.`'\"! ") == DONE


def understood(answer: ChatCompletionMessage) -> Iterator[Call]:
    """The actions in an answer. Raises `ActionError` when there is none or one is malformed."""
    if answer.tool_calls:
        for call in answer.tool_calls:
            function = getattr(call, "function", None)
            if function is None:
                raise ActionError("only function tools are known here")
            yield Call(action=from_tool(function.name, function.arguments), tool_call_id=call.id)
        return
    yield Call(action=from_words(answer.content or ""))


def from_tool(name: str, arguments: str) -> Action:
    """A tool call as an action."""
    try:
        given = json.loads(arguments or "{}")
    except json.JSONDecodeError as error:
        raise ActionError(f"the arguments of {name} are not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ActionError(f"the arguments of {name} must be a JSON object")
    return codec.parse_action({**given, "kind": name})


def from_words(text: str) -> Action:
    """An action in plain text: JSON, alone or in a fence, or Python in a fence."""
    fences = [match.groupdict() for match in FENCE.finditer(text)]
    candidates = [text, *(fence["body"] for fence in fences)]
    for candidate in candidates:
        given = json_object(candidate)
        if given is None:
            continue
        if isinstance(given.get("arguments"), str):
            return from_tool(str(given.get("name")), given["arguments"])
        for key in ("arguments", "parameters"):
            if isinstance(given.get(key), dict):
                return codec.parse_action({**given[key], "kind": given.get("name")})
        return codec.parse_action(given)
    for fence in fences:
        if fence["language"].lower() in ("", "python", "py", "python3", "ipython"):
            return ExecuteCode(code=fence["body"])
    raise ActionError(
        "that was no action: call one of the tools, or answer with a JSON object such as"
        ' {"kind": "execute_code", "code": "…"}, or with Python in a ```python block'
    )


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text consists of, if it does."""
    text = text.strip()
    if not text.startswith("{"):
        return None
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and ("kind" in found or "name" in found) else None


# ── what the model is shown ───────────────────────────────────────────────────────────────

SYSTEM = f"""\
You are a machine-learning engineer. You work on one competition in a live Jupyter kernel:
variables, imports and files stay from one cell to the next. There is no network.

Act one step at a time through these actions:
{{actions}}

Call them as tools. If you cannot call tools, answer with one JSON object such as
{{{{"kind": "execute_code", "code": "print(1)"}}}} or with one ```python block, which runs as a cell.

Write your predictions to the output path as CSV in the format of the sample submission; each time
the file changes it is graded and you are told the public score. The best one counts. When you
cannot improve it any more, answer with the single word {DONE}.
""".format(
    actions="\n".join(f"- {name}: {told['description']}" for name, told in codec.schemas().items())
)


def first_words(episode: Episode) -> str:
    """The task, where things are, and what may be used."""
    task, budget = episode.rules.task, episode.rules.budget
    places = {what: episode.info(what) for what in ("data_path", "output_path")}
    direction = "higher is better" if task.scoring.higher_is_better else "lower is better"
    return "\n\n".join(
        [
            task.description,
            f"Data folder: {places['data_path']}\n{episode.info('data_structure')}",
            f"Sample submission:\n{episode.info('sample_submission')}",
            f"Write your submission to {places['output_path']}."
            f" Metric: {task.scoring.title} ({direction})."
            f" You have {budget.steps} steps and {budget.seconds:.0f} seconds in all,"
            f" {budget.cell_seconds:.0f} seconds for each cell.",
        ]
    )


def said(answer: ChatCompletionMessage) -> Message:
    """The model's answer as a part of the conversation."""
    message = Message(role="assistant", content=answer.content or "")
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in answer.tool_calls
            if call.type == "function"
        ]
    return message


def shown(call: Call, observation: Observation, *, images: bool) -> list[Message]:
    """What came of an action."""
    messages = (
        reply(call.tool_call_id, observation.text)
        if call.tool_call_id
        else [Message(role="user", content=observation.text)]
    )
    if images and observation.images:
        pictures = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image.strip()}"}}
            for image in observation.images[-MOST_IMAGES:]
        ]
        messages.append(Message(role="user", content=pictures))
    return messages


def complaint(answer: ChatCompletionMessage, why: str) -> list[Message]:
    """What was wrong with an answer; every tool call needs a reply of its own."""
    if answer.tool_calls:
        return [message for call in answer.tool_calls for message in reply(call.id, why)]
    return [Message(role="user", content=why)]


def reply(tool_call_id: str, text: str) -> list[Message]:
    """A tool's answer."""
    return [Message(role="tool", tool_call_id=tool_call_id, content=text)]


def fitting(
    opening: Sequence[Message], turns: Sequence[Sequence[Message]], room: int
) -> list[Message]:
    """The conversation within the room: its opening, and as many of the latest turns as fit."""
    left = room - sum(map(length, opening))
    kept: list[Sequence[Message]] = []
    for turn in reversed(turns):
        left -= sum(map(length, turn))
        if left < 0 and kept:
            break
        kept.insert(0, turn)
    missing = len(turns) - len(kept)
    note = [
        Message(role="user", content=f"[{missing} earlier turns are not shown; see get_history]")
    ]
    return [
        *(shortened(message, room // 2) for message in opening),
        *(note if missing else []),
        *(shortened(message, room // 2) for turn in kept for message in turn),
    ]


def shortened(message: Message, limit: int) -> Message:
    """A message that alone would not fit, head and tail of it."""
    content = message["content"]
    return {**message, "content": clipped(content, limit)} if isinstance(content, str) else message


def length(message: Message) -> int:
    """Characters of a message, roughly; a picture counts as much as a page."""
    content = message["content"]
    size = len(content) if isinstance(content, str) else 3_000 * len(content)
    return size + len(json.dumps(message.get("tool_calls", "")))


def without_tools(messages: Sequence[Message]) -> list[Message]:
    """The conversation for an endpoint that knows no tools."""
    return [
        Message(role="user" if m["role"] == "tool" else m["role"], content=m["content"])
        for m in messages
    ]
