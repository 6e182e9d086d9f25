"""Actions and steps to JSON and back, and the tool schemas made from the same definitions.

This is the door: what comes in is validated here once, and trusted inside.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from kernel_env.episode.actions import KINDS, Action
from kernel_env.episode.step import Step
from kernel_env.errors import ActionError

ACTION: TypeAdapter[Action] = TypeAdapter(Action)
STEP = TypeAdapter(Step)
NAMES = tuple(str(kind.__dataclass_fields__["kind"].default) for kind in KINDS)


def parse_action(said: Action | Mapping[str, Any] | str) -> Action:
    """An action from its JSON form, as text or as a mapping; an `Action` is checked and returned.

    >>> parse_action('{"kind": "execute_code", "code": "1 + 1"}')
    ExecuteCode(code='1 + 1', kind='execute_code')

    Raises `ActionError` with one line that a model can act on.
    """
    if isinstance(said, KINDS):
        said = action_json(said)
    try:
        value = json.loads(said) if isinstance(said, str) else said
    except json.JSONDecodeError as error:
        raise ActionError(f"an action must be a JSON object; this is not JSON: {error}") from error
    if not isinstance(value, Mapping) or value.get("kind") not in NAMES:
        found = value.get("kind") if isinstance(value, Mapping) else type(value).__name__
        raise ActionError(f"no action of kind {found!r}; known: {', '.join(NAMES)}")
    try:
        action = ACTION.validate_python(dict(value))
        ACTION.dump_json(action)
        return action
    except PydanticSerializationError as error:
        raise ActionError(f"{value['kind']} does not fit: its text is not valid Unicode") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'][1:])) or 'it'}: {fault['msg'].lower()}"
            for fault in error.errors(include_url=False)[:3]
        )
        raise ActionError(f"{value['kind']} does not fit: {faults}") from error


def action_json(action: Action) -> dict[str, Any]:
    """The JSON form of an action."""
    return {name: getattr(action, name) for name in action.__dataclass_fields__}


def step_json(step: Step) -> bytes:
    """A step as one line of JSON, without the line break."""
    return STEP.dump_json(step)


def step_data(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    data: dict[str, Any] = STEP.dump_python(step, mode="json")
    return data


def parse_step(data: bytes | Mapping[str, Any]) -> Step:
    """A step from its JSON form. Raises `ValueError` for anything else."""
    if isinstance(data, bytes):
        return STEP.validate_json(data)
    return STEP.validate_python(data)


def schemas() -> dict[str, dict[str, Any]]:
    """For each kind of action: its description and the JSON schema of its arguments."""
    return {name: schema(kind) for name, kind in zip(NAMES, KINDS, strict=True)}


def schema(kind: type) -> dict[str, Any]:
    """The JSON schema of one action's arguments; `kind` itself is the tool's name."""
    found = TypeAdapter(kind).json_schema()
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in found["properties"].items()
        if name != "kind"
    }
    return {
        "description": kind.__doc__ or "",
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": [name for name in found.get("required", []) if name != "kind"],
            "additionalProperties": False,
        },
    }


def tools() -> list[dict[str, Any]]:
    """The five actions as tools of an OpenAI chat completion."""
    return [
        {"type": "function", "function": {"name": name, **told}} for name, told in schemas().items()
    ]
