"""What a model is shown: the task, then turn after turn, within the room that it has. Pure.

Strict servers want user and assistant to alternate, a reply to every tool call, and
nothing else between the two. The messages made here are valid for those too, however
much of the conversation had to be left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kernel_env.agents.openai.answers import DONE, Answer
from kernel_env.episode import json_codec
from kernel_env.episode.episode import Episode
from kernel_env.episode.observation import clipped

Message = dict[str, Any]

MOST_IMAGES = 2
IMAGE_CHARACTERS = 3_000
"""What a picture counts as: about a thousand tokens."""
SILENCE = "(no answer)"
"""Stands for an answer without a word; strict servers refuse an empty one."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """An answer of the model, and what came of it."""

    answer: Answer
    replies: tuple[str, ...]
    """One for each call."""
    images: tuple[str, ...] = field(default=(), repr=False)
    """PNG, base64."""

    def messages(self, *, tools: bool, limit: int | None = None) -> list[Message]:
        """This turn as it is sent, each of its texts within the limit.

        Without `tools` everything is said in words, for endpoints that know no tools.
        """

        def fit(text: str) -> str:
            return text if limit is None else clipped(text, limit)

        words, calls = fit(self.answer.words), self.answer.calls
        if tools and calls and calls[0].id:
            asked = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": shorter(call.arguments, limit)},
                }
                for call in calls
            ]
            said = Message(role="assistant", content=words, tool_calls=asked)
            told = [
                Message(role="tool", tool_call_id=call.id, content=fit(reply))
                for call, reply in zip(calls, self.replies, strict=True)
            ]
            return [said, *told, *([user("", self.images)] if self.images else [])]
        asked_in_words = [
            json.dumps({"name": call.name, "arguments": json.loads(call.arguments)})
            for call in calls
            if call.id
        ]
        spoken = "\n".join(text for text in (words, *map(fit, asked_in_words)) if text)
        return [
            Message(role="assistant", content=spoken or SILENCE),
            user("\n\n".join(map(fit, self.replies)), self.images),
        ]


def user(text: str, images: Sequence[str] = ()) -> Message:
    """What we say."""
    if not images:
        return Message(role="user", content=text)
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image.strip()}"}}
        for image in images[-MOST_IMAGES:]
    ]
    return Message(
        role="user", content=[*([{"type": "text", "text": text}] * bool(text)), *pictures]
    )


def shorter(arguments: str, limit: int | None) -> str:
    """The arguments of a call within the limit, still JSON."""
    if limit is None or len(arguments) <= limit:
        return arguments
    return json.dumps({name: clipped(str(v), limit) for name, v in json.loads(arguments).items()})


# ── what is said first ────────────────────────────────────────────────────────────────────


def signature(name: str, told: dict[str, Any]) -> str:
    """`request_info(info_type: overview | name)` and what it does."""
    parameters = [
        f"{parameter}: {' | '.join(field['enum'])}" if "enum" in field else parameter
        for parameter, field in told["parameters"]["properties"].items()
    ]
    return f"- {name}({', '.join(parameters)}): {told['description']}"


ACTIONS = "\n".join(signature(name, told) for name, told in json_codec.schemas().items())
SYSTEM = f"""\
You are a machine-learning engineer. You work on one competition in a live Jupyter kernel:
variables, imports and files stay from one cell to the next. There is no network.

Act one step at a time through these actions:
{ACTIONS}

Call them as tools. If you cannot call tools, answer with one JSON object such as
{{"kind": "execute_code", "code": "print(1)"}} or with one ```python block, which runs as a cell.

Write your predictions to the output path as CSV in the format of the sample submission; each time
the file changes it is graded and you are told the public score. The best one counts. When you
cannot improve it any more, answer with the single word {DONE}.
"""


def first_words(episode: Episode) -> str:
    """The task, where things are, and what may be used."""
    task, budget = episode.rules.task, episode.rules.budget
    direction = "higher is better" if task.scoring.higher_is_better else "lower is better"
    return "\n\n".join(
        [
            task.description,
            f"Data folder: {episode.info('data_path')}\n{episode.info('data_structure')}",
            f"Sample submission:\n{episode.info('sample_submission')}",
            (
                f"Write your submission to {episode.info('output_path')}."
                f" Metric: {task.scoring.title} ({direction})."
                f" You have {budget.steps} steps and {budget.seconds:.0f} seconds in all,"
                f" {budget.cell_seconds:.0f} seconds for each cell."
            ),
        ]
    )


# ── all of it, within the room ────────────────────────────────────────────────────────────


def messages(
    first: str, turns: Sequence[Turn], *, room: int, tools: bool = True, system: bool = True
) -> list[Message]:
    """The conversation within `room` characters: how it began, and the latest turns that fit.

    Args:
        tools: whether calls are sent as tool calls, or in words.
        system: whether the endpoint knows the system's role.
    """
    first = clipped(first, max(room // 2 - len(SYSTEM), room // 8))
    left = room - len(SYSTEM) - len(first)
    kept: list[list[Message]] = []
    for turn in reversed(turns):
        sent = turn.messages(tools=tools)
        if not kept and size(sent) > left:  # the latest one must be seen, if only in part
            texts = 1 + 2 * len(turn.answer.calls)
            without_pictures = replace(turn, images=())
            sent = without_pictures.messages(tools=tools, limit=max(left // texts, 100))
        elif size(sent) > left:
            break
        left -= size(sent)
        kept.insert(0, sent)
    if missing := len(turns) - len(kept):
        first += f"\n\n[{missing} earlier turns are not shown; see get_history]"
    opening = (
        [Message(role="system", content=SYSTEM), user(first)]
        if system
        else [user(f"{SYSTEM}\n{first}")]
    )
    return [*opening, *(message for sent in kept for message in sent)]


def size(messages: Sequence[Message]) -> int:
    """Characters of some messages, roughly."""
    return sum(
        len(message["content"])
        if isinstance(message["content"], str)
        else sum(len(part.get("text", "")) or IMAGE_CHARACTERS for part in message["content"])
        for message in messages
    ) + sum(
        len(json.dumps(message["tool_calls"])) for message in messages if "tool_calls" in message
    )
