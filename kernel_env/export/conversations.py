"""Write an episode as a conversation with tool calls, for supervised fine-tuning.

A row is a *prompt-completion* row of TRL (`SFTTrainer`, conversational, with `tools`):

    {"prompt": [message, …], "completion": [message, …], "tools": [schema, …], "task": …, …}

The arguments of a call are an object, not a text, as chat templates want them. The completion has
the agent's turns and what it saw after each, which a trainer must mask (`assistant_only_loss` of
TRL). Steps that an earlier row has too are in the prompt, so that each is learned once.
"""

from collections.abc import Iterator
from typing import Any

from kernel_env.episode import json_codec
from kernel_env.episode.trajectory import Note
from kernel_env.export.runs import Run
from kernel_env.export.turns import Turn, beginning, turns

Message = dict[str, Any]
"""A message of a chat model."""


def rows(run: Run, copied: int) -> Iterator[dict[str, Any]]:
    """Yield the row of a run; its lists are iterators, to be written as they come.

    Args:
        run: the run.
        copied: how many of its first steps an earlier row has; see `runs.copied_steps`.

    A run whose steps are all copied has no row.
    """
    if copied >= run.steps:
        return
    yield {
        "prompt": prompt(run, copied),
        "completion": completion(run, copied),
        "tools": json_codec.tools(),
        **facts(run),
    }


def facts(run: Run) -> dict[str, Any]:
    """Return what each row says about its episode; nothing of it was seen by the agent."""
    fork = run.header.fork
    return {
        "task": run.header.task,
        "episode": run.header.episode,
        "agent": run.header.agent,
        "model": run.header.model,
        "seed": run.header.seed,
        "parent": fork.episode if fork else None,
        "parent_step": fork.step if fork else None,
        "place": run.place,
    }


def prompt(run: Run, copied: int) -> Iterator[Message]:
    """Yield the instructions, the first message, and the steps that are copied."""
    system, first = beginning(run.journal)
    if system:
        yield {"role": "system", "content": system}
    yield {"role": "user", "content": first}
    for turn in turns(run) if copied else ():
        if isinstance(turn, Turn) and turn.step.number <= copied:
            yield from messages(turn)


def completion(run: Run, copied: int) -> Iterator[Message]:
    """Yield the steps that are not copied, and the agent's last words."""
    for entry in turns(run):
        if isinstance(entry, Note):
            if entry.kind == "last_words":
                yield {"role": "assistant", "content": entry.text}
        elif entry.step.number > copied:
            yield from messages(entry)


def messages(turn: Turn) -> Iterator[Message]:
    """Yield the agent's message with its call, and the reply."""
    arguments = json_codec.action_json(turn.step.action)
    name, call = arguments.pop("kind"), f"call_{turn.step.number}"
    function = {"name": name, "arguments": arguments}
    yield {
        "role": "assistant",
        "content": turn.step.thought,
        "tool_calls": [{"id": call, "type": "function", "function": function}],
    }
    yield {"role": "tool", "name": name, "tool_call_id": call, "content": turn.after}
