"""What a model's answer means: the actions in it, or why there is none. Pure.

Servers and models differ in how they ask for an action. All of these are understood:

    tool_calls: [{"function": {"name": "execute_code", "arguments": "{…}"}}]
    <tool_call>{"name": "execute_code", "arguments": {…}}</tool_call>
    {"kind": "execute_code", "code": "…"}           alone, in prose, in a list, in a fence
    ```python … ```                                 each block is a cell

Whatever else a model says is a `Fault` that tells it what was wanted. Nothing here raises.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from kernel_env.episode import json_codec
from kernel_env.episode.actions import Action, ExecuteCode
from kernel_env.errors import ActionError

DONE = "DONE"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What was meant as an action and is none."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """One thing that a model asked for."""

    meant: Action | Fault
    id: str = ""
    """The server's name for it, which its reply must carry; empty when it was asked in words."""
    name: str = ""
    arguments: str = ""
    """JSON, whatever the model said: servers parse it again when it is sent back to them."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one answer of a model means."""

    words: str
    """What it said, without its thinking."""
    thought: str
    """Its thinking and what it said, without the actions in it: for the record."""
    calls: tuple[Call, ...]
    """At least one, unless it is done."""
    done: bool = False
    """It wants nothing more."""


# ── the wire: what servers send, leniently ────────────────────────────────────────────────


class Function(BaseModel):
    """The name and the arguments of a tool call."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCall(BaseModel):
    """A tool call; some servers give it no id."""

    id: str | None = None
    function: Function | None = None


class Message(BaseModel):
    """The model's turn."""

    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(BaseModel):
    """One of the answers; only one is ever asked for."""

    message: Message | None = None
    finish_reason: str | None = None


class Usage(BaseModel):
    """What an answer took."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class Completion(BaseModel):
    """The body of an answer."""

    choices: list[Choice] | None
    usage: Usage | None = None


def read(body: str) -> Completion:
    """The body of an answer. Raises `ValueError` for anything that is no chat completion."""
    # Models may break characters in two; half of one fits into JSON and into nothing else.
    whole = json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace")
    return Completion.model_validate_json(whole)


# ── from the wire to the meaning ──────────────────────────────────────────────────────────

CUT = Fault(
    reason="your answer was cut off at the length limit before the action was complete, so it was"
    " not done; think less, or send the code in several smaller steps"
)
NO_ACTION = Fault(
    reason="that was no action: call one of the tools, or answer with a JSON object such as"
    ' {"kind": "execute_code", "code": "…"}, or with Python in a ```python block;'
    f" if there is nothing more to do, answer with the single word {DONE}"
)
CUT_SHORT = Fault(reason=f"{CUT.reason}. If it held none: {NO_ACTION.reason}")
PYTHON = ("python", "py", "python3", "ipython", "jupyter")

THINKING = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.DOTALL)
THOUGHT = re.compile(r"\A(.*)</think(?:ing)?>", re.DOTALL)
"""The prompt's template may have opened the thinking, so that only its end is in the answer."""
TAG = re.compile(r"<(tool_call|function_call)>(?P<body>.*?)(?P<close></\1>|\Z)", re.DOTALL)
FENCE = re.compile(
    r"```[ \t]*+(?P<language>[\w+-]*+)[^\n`]*+\n"
    r"(?P<body>.*?)(?P<close>^[ \t]*```|```[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
ENDS_WITH_DONE = re.compile(rf"(?:\A|[.:;!?\n])[\s*_`\"']*{DONE}\W*\Z")
OBJECT = re.compile(r"\{\s*\"")
JSON = json.JSONDecoder(strict=False)
"""Models write line breaks into JSON strings as they are."""


def understood(choice: Choice) -> Answer:
    """What an answer means."""
    message = choice.message or Message()
    cut = (choice.finish_reason or "").lower() in ("length", "max_tokens")
    thinking, words = parted(text_of(message.content) or message.refusal or "")
    thinking = message.reasoning_content or message.reasoning or thinking
    if message.tool_calls:
        calls = [from_tool(number, call) for number, call in enumerate(message.tool_calls)]
        if cut:
            calls[-1] = replace(calls[-1], meant=CUT)
        return Answer(words=words, thought=joined(thinking, words), calls=tuple(calls))
    pieces = list(actions_in(words, cut=cut))
    if not pieces and ENDS_WITH_DONE.search(words[-80:]):
        return Answer(words=words, thought=joined(thinking, words), calls=(), done=True)
    return Answer(
        words=words,
        thought=joined(thinking, without(words, pieces)),
        calls=tuple(Call(meant=piece.meant) for piece in pieces)
        or (Call(meant=CUT_SHORT if cut else why_none(words)),),
    )


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a content, which may come in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def parted(text: str) -> tuple[str, str]:
    """What a reasoning model thought, and what it said after that."""
    thoughts = [found[1].strip() for found in THINKING.finditer(text)]
    said = THINKING.sub("", text)
    if ended := THOUGHT.match(said):
        thoughts.insert(0, ended[1].strip())
        said = said[ended.end() :]
    return "\n\n".join(thoughts), said.strip()


def joined(*texts: str) -> str:
    """Paragraphs, the empty ones left out."""
    return "\n\n".join(text.strip() for text in texts if text.strip())


def from_tool(number: int, call: ToolCall) -> Call:
    """A tool call; without an id it gets one."""
    function = call.function or Function()
    name, arguments = function.name or "", function.arguments
    meant = action(name, arguments)
    if isinstance(meant, Fault):
        said = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        arguments = said if is_object(said) else json.dumps({"malformed": said})
    else:
        arguments = json.dumps(
            {k: v for k, v in json_codec.action_json(meant).items() if k != "kind"}
        )
    return Call(
        meant=meant,
        id=call.id or f"call_{number}",
        name=re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:64] or "unknown",
        arguments=arguments,
    )


def is_object(text: str) -> bool:
    """Whether any server will take it for a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def action(name: str, arguments: object) -> Action | Fault:
    """An action by its name and arguments, which may be JSON text."""
    try:
        if isinstance(arguments, str):
            arguments = JSON.decode(arguments.strip() or "{}")
        if not isinstance(arguments, Mapping | None):
            return Fault(reason=f"the arguments of {name} must be a JSON object")
        asked = {**(arguments or {}), "kind": name.removeprefix("functions.")}
        json.dumps(asked, ensure_ascii=False).encode()
        return json_codec.parse_action(asked)
    except ActionError as error:
        return Fault(reason=str(error))
    except UnicodeEncodeError:
        return Fault(reason=f"the arguments of {name} hold half a character: a lone surrogate")
    except (ValueError, RecursionError) as error:
        return Fault(reason=f"the arguments of {name} are not JSON: {error}")


# ── actions in plain words ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An action in a text, and where it stands."""

    meant: Action | Fault
    start: int
    end: int


def actions_in(words: str, *, cut: bool) -> Iterator[Piece]:
    """The actions in a text: tagged calls, else JSON objects, else blocks of Python."""
    if tags := list(TAG.finditer(words)):
        for tag in tags:
            asked = [piece.meant for piece in objects_in(tag["body"])]
            if not asked:
                asked = [CUT if cut and not tag["close"] else why_none(tag["body"])]
            yield from (Piece(meant=one, start=tag.start(), end=tag.end()) for one in asked)
        return
    if words.startswith(("{", "[")) and (objects := list(objects_in(words))):
        yield from objects
        return
    fences = list(FENCE.finditer(words))
    objects = list(objects_in(FENCE.sub(lambda fence: " " * len(fence[0]), words)))
    for fence in fences:
        if fence["language"].lower() not in PYTHON:
            objects += [
                replace(piece, start=fence.start(), end=fence.end())
                for piece in objects_in(fence["body"])
            ]
    blocks = [fence for fence in fences if fence["language"].lower() in PYTHON]
    blocks = blocks or [fence for fence in fences if not fence["language"]]
    if objects and (not blocks or any(not isinstance(one.meant, Fault) for one in objects)):
        yield from sorted(objects, key=lambda piece: piece.start)
        return
    for block in blocks:
        if block["body"].strip():
            whole = block["close"] or not cut
            meant = ExecuteCode(code=block["body"]) if whole else CUT
            yield Piece(meant=meant, start=block.start(), end=block.end())


def objects_in(text: str) -> Iterator[Piece]:
    """The JSON objects in a text that look like calls."""
    at = 0
    while found := OBJECT.search(text, at):
        try:
            value, at = JSON.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = found.end()
            continue
        inner = value.get("tool_calls", value.get("actions"))
        for one in inner if isinstance(inner, list) else [value]:
            meant = from_object(one) if isinstance(one, dict) else None
            if meant is not None:
                yield Piece(meant=meant, start=found.start(), end=at)


def from_object(value: dict[str, Any]) -> Action | Fault | None:
    """A JSON object as an action; None when it is about something else."""
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("kind") or value.get("name")
    if not isinstance(name, str):
        return None
    for key in ("arguments", "parameters"):
        if isinstance(value.get(key), dict | str):
            return action(name, value[key])
    if name in json_codec.NAMES:
        aside = ("kind", "name", "id", "type", "thought", "arguments", "parameters")
        return action(name, {k: v for k, v in value.items() if k not in aside})
    return None


def without(words: str, pieces: list[Piece]) -> str:
    """The text without the actions in it."""
    for start, end in sorted({(piece.start, piece.end) for piece in pieces}, reverse=True):
        words = words[:start] + words[end:]
    return words


def why_none(words: str) -> Fault:
    """What to tell a model whose answer holds no action."""
    bodies = [words.strip(), *(fence["body"].strip() for fence in FENCE.finditer(words))]
    for body in bodies:
        if not body.startswith(("{", "[")):
            continue
        try:
            value, _ = JSON.raw_decode(body)
        except (ValueError, RecursionError) as error:
            return Fault(reason=f"that looks like JSON and is not: {error}. {NO_ACTION.reason}")
        if isinstance(value, dict) and (name := value.get("kind") or value.get("name")):
            return Fault(
                reason=f"no action of kind {str(name)[:80]!r}; known: {', '.join(json_codec.NAMES)}"
            )
    return NO_ACTION
