"""Build the messages of a request: the task, then the latest turns that fit into the context.

Strict servers require that user and assistant alternate and that every tool call is followed
directly by its reply. The messages satisfy this, however many turns are omitted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kernel_env.agents.openai.answers import DONE, Answer
from kernel_env.episode import json_codec
from kernel_env.episode.episode import Episode
from kernel_env.episode.tools import FINISH
from kernel_env.untrusted_text import clipped, escape_lines

Message = dict[str, Any]
"""A message of the chat-completions protocol."""

MAX_IMAGES = 2
"""Largest number of pictures in a message; the latest ones are kept."""
IMAGE_CHARACTERS = 3_000
"""Characters that a picture counts as: about a thousand tokens."""
EMPTY_ANSWER = "(empty answer)"
"""Replaces an empty answer, because strict servers reject empty messages."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """An answer of the model and the replies to its calls."""

    answer: Answer
    """The parsed answer."""
    replies: tuple[str, ...]
    """The text of each call's reply, in the order of the calls."""
    images: tuple[str, ...] = field(default=(), repr=False)
    """The pictures of the observations: PNG, base64."""
    last_words: str | None = None
    """What the model said when it ended the episode; None if it did not."""

    def messages(self, *, tools: bool, limit: int | None = None) -> list[Message]:
        """Return the messages of this turn.

        Args:
            tools: whether calls are sent as tool calls. False for endpoints that do not support
                tools: calls and replies are then sent as text.
            limit: the most characters of each text; None: no limit.
        """

        def fit(text: str) -> str:
            return text if limit is None else clipped(text, limit)

        content, calls = fit(self.answer.text), self.answer.calls
        if tools and calls and calls[0].id:
            tool_calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": shorten_arguments(call.arguments, limit),
                    },
                }
                for call in calls
            ]
            request = Message(role="assistant", content=content, tool_calls=tool_calls)
            replies = [
                Message(role="tool", tool_call_id=call.id, content=fit(reply))
                for call, reply in zip(calls, self.replies, strict=True)
            ]
            return [request, *replies, *([user_message("", self.images)] if self.images else [])]
        calls_as_text = [
            json.dumps({"name": call.name, "arguments": json.loads(call.arguments)})
            for call in calls
            if call.id
        ]
        merged = "\n".join(text for text in (content, *map(fit, calls_as_text)) if text)
        return [
            Message(role="assistant", content=merged or EMPTY_ANSWER),
            user_message("\n\n".join(map(fit, self.replies)), self.images),
        ]


def user_message(text: str, images: Sequence[str] = ()) -> Message:
    """Return a message of the user, with its latest pictures."""
    if not images:
        return Message(role="user", content=text)
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image.strip()}"}}
        for image in images[-MAX_IMAGES:]
    ]
    return Message(
        role="user", content=[*([{"type": "text", "text": text}] * bool(text)), *pictures]
    )


def shorten_arguments(arguments: str, limit: int | None) -> str:
    """Clip each argument of a call to the limit, so that the result stays valid JSON."""
    if limit is None or len(arguments) <= limit:
        return arguments
    return json.dumps({name: clipped(str(v), limit) for name, v in json.loads(arguments).items()})


# ── the first messages ────────────────────────────────────────────────────────────────────


def signature(name: str, schema: dict[str, Any]) -> str:
    """Describe an action: `- request_info(info_type: overview | name): Read …`."""
    parameters = [
        f"{parameter}: {' | '.join(field['enum'])}" if "enum" in field else parameter
        for parameter, field in schema["parameters"]["properties"].items()
    ]
    return f"- {name}({', '.join(parameters)}): {schema['description']}"


ACTIONS = "\n".join(signature(name, schema) for name, schema in json_codec.schemas().items())
SYSTEM = f"""\
You are a machine-learning engineer. You solve one task in a persistent Jupyter kernel: variables,
imports and files persist between cells. There is no network access.

Take one step at a time with these actions:
{ACTIONS}

Call them as tools. If you cannot call tools, answer with one JSON object, for example
{{"kind": "execute_code", "code": "print(1)"}}, or with one ```python block, which runs as a cell.

Write your predictions to the output path as CSV, in the format of the sample submission. Each time
the file changes, it is graded. When you cannot improve your submission further, call the tool
{FINISH}, or answer with the single word {DONE}.
"""


def task_message(episode: Episode) -> str:
    """Return the first message: the task, the data, the submission path and the budget."""
    task, budget = episode.setup.task, episode.setup.budget
    direction = "higher is better" if task.scoring.higher_is_better else "lower is better"
    text = "\n\n".join(
        [
            task.description,
            episode.machine_text,
            episode.rules_text,
            f"Data folder: {episode.info('data_path')}\n{episode.info('data_structure')}",
            f"Sample submission:\n{episode.info('sample_submission')}",
            (
                f"Write your submission to {episode.info('output_path')}."
                f" Metric: {task.scoring.title} ({direction})."
                f" Budget: {budget.steps} steps and {budget.seconds:.0f} seconds in total,"
                f" at most {budget.cell_seconds:.0f} seconds per cell."
            ),
        ]
    )
    return escape_lines(text)


# ── the conversation within the context ───────────────────────────────────────────────────


def messages(
    first: str,
    turns: Sequence[Turn],
    *,
    room: int,
    instructions: str = SYSTEM,
    tools: bool = True,
    system: bool = True,
) -> list[Message]:
    """Build the conversation: the system prompt, the first message and the latest turns that fit.

    Args:
        first: the first message of the user.
        turns: all turns so far, oldest first.
        room: the most characters of the conversation. The latest turn is always sent, clipped
            when it does not fit.
        instructions: the system prompt.
        tools: whether calls are sent as tool calls or as text.
        system: whether the endpoint supports the system role.
    """
    first = clipped(first, max(room // 2 - len(instructions), room // 8))
    left = room - len(instructions) - len(first)
    kept: list[list[Message]] = []
    for turn in reversed(turns):
        sent = turn.messages(tools=tools)
        if not kept and size(sent) > left:  # the model must see the latest turn: clip it
            texts = 1 + 2 * len(turn.answer.calls)
            without_pictures = replace(turn, images=())
            sent = without_pictures.messages(tools=tools, limit=max(left // texts, 100))
        elif size(sent) > left:
            break
        left -= size(sent)
        kept.insert(0, sent)
    if omitted := len(turns) - len(kept):
        first += f"\n\n[{omitted} earlier turns are omitted; call get_history for recent steps]"
    opening = (
        [Message(role="system", content=instructions), user_message(first)]
        if system
        else [user_message(f"{instructions}\n{first}")]
    )
    return [*opening, *(message for sent in kept for message in sent)]


def size(messages: Sequence[Message]) -> int:
    """Return the approximate number of characters of messages."""
    return sum(
        len(message["content"])
        if isinstance(message["content"], str)
        else sum(len(part.get("text", "")) or IMAGE_CHARACTERS for part in message["content"])
        for message in messages
    ) + sum(
        len(json.dumps(message["tool_calls"])) for message in messages if "tool_calls" in message
    )
