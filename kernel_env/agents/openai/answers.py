"""Parse a model's answer into actions, or into a fault that explains why it has none.

Servers and models encode actions in different ways. All of these are parsed:

    tool_calls: [{"function": {"name": "execute_code", "arguments": "{…}"}}]
    <tool_call>{"name": "execute_code", "arguments": {…}}</tool_call>
    {"kind": "execute_code", "code": "…"}           alone, in prose, in a list, in a fence
    ```python … ```                                 each block is a cell

Anything else becomes a `Fault`, whose text is sent back to the model. Parsing an answer never
raises.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from kernel_env.episode import json_codec
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.tools import FINISH, JSON, Fault, Finish, Request, parse_call

DONE = "DONE"
"""The word with which a model ends the episode, if it calls no tool."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One action that a model requested."""

    action: Request
    """The parsed action, or why there is none."""
    id: str = ""
    """The tool call's id, which the reply must repeat; empty when the action was in the text."""
    name: str = ""
    """The tool's name; empty when the action was in the text."""
    arguments: str = ""
    """Always a valid JSON object, because servers parse it when it is sent back to them."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A parsed answer of a model."""

    text: str
    """The answer's text, without the thinking."""
    thought: str
    """The thinking and the text, without the actions: for the journal."""
    calls: tuple[Call, ...]
    """The requested actions or faults: at least one, unless the model is done."""
    done: bool = False
    """Whether the model ended the episode."""


# ── wire format of chat completions; every field can be missing ───────────────────────────


class Function(BaseModel):
    """The function of a tool call."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCall(BaseModel):
    """A tool call; some servers send no id."""

    id: str | None = None
    function: Function | None = None


class Message(BaseModel):
    """The message of a model."""

    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(BaseModel):
    """One of the answers; requests ask for one."""

    message: Message | None = None
    finish_reason: str | None = None


class PromptDetails(BaseModel):
    """What an endpoint says about the tokens of a request."""

    cached_tokens: int | None = None


class Usage(BaseModel):
    """The number of tokens of a request and its answer."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None


class Completion(BaseModel):
    """The body of a chat completion."""

    choices: list[Choice] | None
    usage: Usage | None = None


def read(body: str) -> Completion:
    """Parse the body of a chat completion.

    Raises:
        ValueError: the body is not a chat completion.
    """
    # A lone surrogate is valid in JSON escapes but cannot be encoded as UTF-8.
    data = json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace")
    return Completion.model_validate_json(data)


# ── from a chat completion to actions ─────────────────────────────────────────────────────

HOW_TO_ACT = (
    'call one of the tools, or answer with a JSON object such as {"kind": "execute_code",'
    ' "code": "…"}, or with Python in a ```python block; to finish, answer with the single word'
    f" {DONE}"
)
CUT = Fault(
    reason="your answer was cut off at the length limit before the action was complete, so the"
    " action was not executed; answer more briefly, or split the code into several steps"
)
NO_ACTION = Fault(reason=f"your answer contains no action; {HOW_TO_ACT}")
CUT_WITHOUT_ACTION = Fault(
    reason="your answer was cut off at the length limit and contains no complete action; answer"
    f" more briefly, or split the code into several steps. To act, {HOW_TO_ACT}"
)
PYTHON = ("python", "py", "python3", "ipython", "jupyter")
"""Languages of fenced blocks that run as cells."""

THINKING = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.DOTALL)
END_OF_THINKING = re.compile(r"\A(.*)</think(?:ing)?>", re.DOTALL)
"""Thinking without its opening tag, which some chat templates put into the prompt."""
TAG = re.compile(r"<(tool_call|function_call)>(?P<body>.*?)(?P<close></\1>|\Z)", re.DOTALL)
FENCE = re.compile(
    r"```[ \t]*+(?P<language>[\w+-]*+)[^\n`]*+\n"
    r"(?P<body>.*?)(?P<close>^[ \t]*```|```[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
ENDS_WITH_DONE = re.compile(rf"(?:\A|[.:;!?\n])[\s*_`\"']*{DONE}\W*\Z")
SAYS_DONE = re.compile(r"\b(?:done|finished|completed?|final submission)\b", re.IGNORECASE)
"""What a model says that ends without the word it was asked for."""
OBJECT = re.compile(r"\{\s*\"")


def parse_answer(choice: Choice) -> Answer:
    """Parse an answer into its text, its thought and its actions."""
    message = choice.message or Message()
    cut = (choice.finish_reason or "").lower() in ("length", "max_tokens")
    thinking, text = split_thinking(content_text(message.content) or message.refusal or "")
    thinking = message.reasoning_content or message.reasoning or thinking
    if message.tool_calls:
        calls = [parse_tool_call(number, call) for number, call in enumerate(message.tool_calls)]
        if cut:
            calls[-1] = replace(calls[-1], action=CUT)
        return Answer(text=text, thought=join_paragraphs(thinking, text), calls=tuple(calls))
    pieces = list(find_actions(text, cut=cut))
    if not pieces and ENDS_WITH_DONE.search(text[-80:]):
        return Answer(text=text, thought=join_paragraphs(thinking, text), calls=(), done=True)
    return Answer(
        text=text,
        thought=join_paragraphs(thinking, remove_actions(text, pieces)),
        calls=tuple(Call(action=piece.action) for piece in pieces)
        or (Call(action=CUT_WITHOUT_ACTION if cut else explain_no_action(text)),),
    )


def content_text(content: str | list[dict[str, Any]] | None) -> str:
    """Return the text of a message's content, which can be a list of parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def split_thinking(text: str) -> tuple[str, str]:
    """Split a text into the thinking of a reasoning model and the rest."""
    thoughts = [found[1].strip() for found in THINKING.finditer(text)]
    rest = THINKING.sub("", text)
    if ended := END_OF_THINKING.match(rest):
        thoughts.insert(0, ended[1].strip())
        rest = rest[ended.end() :]
    return "\n\n".join(thoughts), rest.strip()


def join_paragraphs(*texts: str) -> str:
    """Join texts as paragraphs, without the empty ones."""
    return "\n\n".join(text.strip() for text in texts if text.strip())


def parse_tool_call(number: int, call: ToolCall) -> Call:
    """Parse a tool call; a call without an id gets one from its number."""
    function = call.function or Function()
    name, arguments = function.name or "", function.arguments
    action = parse_call(name, arguments)
    if isinstance(action, Fault):
        sent = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        arguments = sent if is_json_object(sent) else json.dumps({"malformed": sent})
    elif isinstance(action, Finish):
        arguments = json.dumps({"message": action.message})
    else:
        arguments = json.dumps(
            {k: v for k, v in json_codec.action_json(action).items() if k != "kind"}
        )
    return Call(
        action=action,
        id=call.id or f"call_{number}",
        name=re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:64] or "unknown",
        arguments=arguments,
    )


def is_json_object(text: str) -> bool:
    """Return whether a text is a JSON object by the strict grammar that servers use."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


# ── actions in text ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An action in a text, with the span of its characters."""

    action: Request
    """The parsed action, or why there is none."""
    start: int
    """Index of the first character."""
    end: int
    """Index after the last character."""


def find_actions(text: str, *, cut: bool) -> Iterator[Piece]:
    """Find the actions in a text: tagged calls, else JSON objects, else blocks of Python."""
    if tags := list(TAG.finditer(text)):
        for tag in tags:
            actions = [piece.action for piece in find_json_actions(tag["body"])]
            if not actions:
                actions = [CUT if cut and not tag["close"] else explain_no_action(tag["body"])]
            yield from (Piece(action=found, start=tag.start(), end=tag.end()) for found in actions)
        return
    if text.startswith(("{", "[")) and (objects := list(find_json_actions(text))):
        yield from objects
        return
    fences = list(FENCE.finditer(text))
    objects = list(find_json_actions(FENCE.sub(lambda fence: " " * len(fence[0]), text)))
    for fence in fences:
        if fence["language"].lower() not in PYTHON:
            objects += [
                replace(piece, start=fence.start(), end=fence.end())
                for piece in find_json_actions(fence["body"])
            ]
    blocks = [fence for fence in fences if fence["language"].lower() in PYTHON]
    blocks = blocks or [fence for fence in fences if not fence["language"]]
    if objects and (not blocks or any(not isinstance(piece.action, Fault) for piece in objects)):
        yield from sorted(objects, key=lambda piece: piece.start)
        return
    for block in blocks:
        if block["body"].strip():
            complete = block["close"] or not cut
            action = ExecuteCode(code=block["body"]) if complete else CUT
            yield Piece(action=action, start=block.start(), end=block.end())


def find_json_actions(text: str) -> Iterator[Piece]:
    """Find the JSON objects in a text that look like actions."""
    position = 0
    while found := OBJECT.search(text, position):
        try:
            value, position = JSON.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            position = found.end()
            continue
        inner = value.get("tool_calls", value.get("actions"))
        for item in inner if isinstance(inner, list) else [value]:
            action = parse_json_action(item) if isinstance(item, dict) else None
            if action is not None:
                yield Piece(action=action, start=found.start(), end=position)


def parse_json_action(value: dict[str, Any]) -> Request | None:
    """Parse a JSON object as an action; None when it does not look like one."""
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("kind") or value.get("name")
    if not isinstance(name, str):
        return None
    for key in ("arguments", "parameters"):
        if isinstance(value.get(key), dict | str):
            return parse_call(name, value[key])
    if name in (*json_codec.NAMES, FINISH):
        envelope = ("kind", "name", "id", "type", "thought", "arguments", "parameters")
        return parse_call(name, {k: v for k, v in value.items() if k not in envelope})
    return None


def remove_actions(text: str, pieces: list[Piece]) -> str:
    """Remove the actions from a text."""
    for start, end in sorted({(piece.start, piece.end) for piece in pieces}, reverse=True):
        text = text[:start] + text[end:]
    return text


def explain_no_action(text: str) -> Fault:
    """Explain to a model why its answer contains no action."""
    bodies = [text.strip(), *(fence["body"].strip() for fence in FENCE.finditer(text))]
    for body in bodies:
        if not body.startswith(("{", "[")):
            continue
        try:
            value, _ = JSON.raw_decode(body)
        except (ValueError, RecursionError) as error:
            return Fault(reason=f"your answer is not valid JSON: {error}. To act, {HOW_TO_ACT}")
        if isinstance(value, dict) and (name := value.get("kind") or value.get("name")):
            return Fault(
                reason=f"no action of kind {str(name)[:80]!r}; known: {', '.join(json_codec.NAMES)}"
            )
    return NO_ACTION
