"""Write an episode in the Agent Trajectory Interchange Format, ATIF v1.8, of the Harbor project.

One JSON document per episode. Steps that a fork has from its parent are marked with
`is_copied_context`, so that nobody learns them twice, and they are in no total. The format has no
field for a reward: each step's is in its `extra`. Steps that no model decided have the
`llm_call_count` 0. Steps of people are not in it; the agent's next observation tells of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from kernel_env.episode import json_codec
from kernel_env.episode.budget import Spent
from kernel_env.export.conversations import facts
from kernel_env.export.runs import Run
from kernel_env.export.turns import Turn, beginning, turns

VERSION = "ATIF-v1.8"
NOTES = (
    "The first user message is made of what the journal has of it. Steps of people are left out;"
    " the observation after them tells what they changed."
)


def rows(run: Run, copied: int) -> Iterator[dict[str, Any]]:
    """Yield the document of a run; its steps are an iterator, to be written as they come.

    `copied` is not used: a document has all steps, those of a fork's parent marked.
    """
    del copied
    assert run.ending is not None
    header, grade = run.header, run.ending.grade
    fork = header.fork
    yield {
        "schema_version": VERSION,
        "session_id": fork.episode if fork else header.episode,
        "trajectory_id": header.episode,
        "agent": {
            "name": header.agent or "program",
            "version": header.version or "unknown",
            **({"model_name": header.model} if header.model else {}),
            "tool_definitions": json_codec.tools(),
        },
        "steps": steps(run),
        "notes": NOTES,
        "final_metrics": {
            **final_metrics(run),
            "extra": {
                "status": run.ending.status,
                "ending_reward": run.ending.reward,
                "public_score": grade.public_score if grade else None,
                "private_score": run.score,
                "private_place": run.place,
            },
        },
        "extra": {**facts(run), "reward": header.reward, "feedback": header.feedback},
    }


def steps(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the steps of a document: instructions, first message, turns, last words."""
    numbers = iter(range(1, run.steps + 4))
    fork = run.header.fork
    last, spent = (fork.step if fork else 0), Spent()
    for text in first_messages(run):
        yield {"step_id": next(numbers), **text}
    for entry in turns(run):
        if isinstance(entry, Turn):
            used = difference(entry.step.spent, spent)
            spent = entry.step.spent
            copied = entry.step.number <= last
            yield {"step_id": next(numbers), **agent_step(run, entry, used, copied=copied)}
        elif entry.kind == "last_words":
            words = {"source": "agent", "message": entry.text}
            yield {"step_id": next(numbers), **words}


def first_messages(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the system prompt, if it is recorded, and the first message of the user."""
    system, first = beginning(run.journal)
    if system:
        yield {"source": "system", "message": system}
    yield {"source": "user", "message": first}


def agent_step(run: Run, turn: Turn, used: Spent, *, copied: bool) -> dict[str, Any]:
    """Return a turn as a step, without its number.

    Args:
        run: its run.
        turn: the turn.
        used: what the agent used to decide it, since the turn before.
        copied: whether the step was taken by the parent of a fork.
    """
    step = turn.step
    arguments = json_codec.action_json(step.action)
    call = f"call_{step.number}"
    result: dict[str, Any] = {
        **({"timestamp": step.started} if is_timestamp(step.started) else {}),
        "source": "agent",
        "message": step.thought,
        "tool_calls": [
            {
                "tool_call_id": call,
                "function_name": arguments.pop("kind"),
                "arguments": arguments,
            }
        ],
        "observation": {"results": [{"source_call_id": call, "content": turn.after}]},
        "extra": {
            "number": step.number,
            "reward": step.reward,
            "failed": bool(step.cell and step.cell.error),
        },
    }
    if copied:
        result["is_copied_context"] = True
    if not run.header.model:
        result["llm_call_count"] = 0
    elif used.tokens or used.money:
        result["metrics"] = metrics(used)
    return result


def metrics(used: Spent) -> dict[str, Any]:
    """Return tokens and dollars; the kinds of tokens only if the agent reported them."""
    found: dict[str, Any] = {"cost_usd": used.money}
    if used.prompt_tokens:
        found["prompt_tokens"] = used.prompt_tokens
        found["completion_tokens"] = used.tokens - used.prompt_tokens
        found["cached_tokens"] = used.cached_tokens
    found["extra"] = {"tokens": used.tokens, "estimated_tokens": used.estimated_tokens}
    return found


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a first pass over an episode counts."""

    steps: int
    """Number of steps of the document."""
    copied: Spent
    """What was used before the fork."""


def final_metrics(run: Run) -> dict[str, Any]:
    """Return the totals of a document, without what its parent used."""
    assert run.ending is not None
    counted = count(run)
    found: dict[str, Any] = {"total_steps": counted.steps}
    if run.header.model:
        used = difference(run.ending.spent, counted.copied)
        found["total_cost_usd"] = used.money
        if used.prompt_tokens:
            found["total_prompt_tokens"] = used.prompt_tokens
            found["total_completion_tokens"] = used.tokens - used.prompt_tokens
            found["total_cached_tokens"] = used.cached_tokens
    return found


def count(run: Run) -> Counted:
    """Count the steps of a document, and what was used before a fork."""
    fork, copied = run.header.fork, Spent()
    number = sum(1 for _ in first_messages(run))
    for entry in turns(run):
        number += isinstance(entry, Turn) or entry.kind == "last_words"
        if isinstance(entry, Turn) and fork and entry.step.number <= fork.step:
            copied = entry.step.spent
    return Counted(steps=number, copied=copied)


def difference(later: Spent, earlier: Spent) -> Spent:
    """Return what was used in between."""
    names = [field.name for field in fields(Spent)]
    return Spent(**{name: getattr(later, name) - getattr(earlier, name) for name in names})


def is_timestamp(text: str) -> bool:
    """Return whether a text is a time of ISO 8601."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
