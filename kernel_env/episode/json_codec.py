"""Convert actions and steps to JSON and back, and derive tool schemas from the same definitions.

Input is validated here, once.
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


def parse_action(given: Action | Mapping[str, Any] | str) -> Action:
    """Parse an action from its JSON form, text or mapping. An `Action` is checked and returned.

    >>> parse_action('{"kind": "execute_code", "code": "1 + 1"}')
    ExecuteCode(code='1 + 1', kind='execute_code')

    Raises `ActionError` with one line that a model can act on.
    """
    if isinstance(given, KINDS):
        given = action_json(given)
    try:
        value = json.loads(given) if isinstance(given, str) else given
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
        raise ActionError(f"{value['kind']} is not valid: its text is not valid Unicode") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'][1:])) or 'it'}: {fault['msg'].lower()}"
            for fault in error.errors(include_url=False)[:3]
        )
        raise ActionError(f"{value['kind']} is not valid: {faults}") from error


def action_json(action: Action) -> dict[str, Any]:
    """Return the JSON form of an action."""
    return {name: getattr(action, name) for name in action.__dataclass_fields__}


def step_json(step: Step) -> bytes:
    """Return a step as one line of JSON, without the line break."""
    return STEP.dump_json(step)


def step_data(step: Step) -> dict[str, Any]:
    """Return a step as JSON values, without what is as by default, as ever."""
    data: dict[str, Any] = STEP.dump_python(step, mode="json")
    if not step.spent.estimated_tokens:
        del data["spent"]["estimated_tokens"]
    if step.actor == "agent":
        del data["actor"]
    if step.remark is None:
        del data["remark"]
    return data


def parse_step(data: bytes | Mapping[str, Any]) -> Step:
    """Parse a step from its JSON form. Raises `ValueError`."""
    if isinstance(data, bytes):
        return STEP.validate_json(data)
    return STEP.validate_python(data)


MAX_DEPTH = 100
"""The deepest nesting of JSON in an output; a kernel's is at most half as deep."""


def parse_foreign_step(data: Mapping[str, Any], number: int) -> Step:
    """Parse the step of a file that anybody can have written. Raises `ValueError`."""
    step = parse_step(data)
    if step.number != number:
        raise ValueError(f"step {step.number} is where step {number} belongs")
    for output in (*step.cell.outputs, *step.cell.late) if step.cell else ():
        check_output(output)
    return step


def check_output(output: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an output that is not nbformat's."""
    match output:
        case {"output_type": "stream", "name": str(), "text": str()}:
            sound = True
        case {"output_type": "error", "ename": str(), "evalue": str(), "traceback": list(lines)}:
            sound = all(isinstance(line, str) for line in lines)
        case {
            "output_type": "display_data" | "execute_result",
            "data": dict(data),
            "metadata": dict(),
        }:
            sound = all(is_representation(kind, value) for kind, value in data.items())
        case _:
            sound = False
    if not sound or depth_of(output) > MAX_DEPTH:
        raise ValueError("an output is not valid")
    json.dumps(output, ensure_ascii=False).encode()  # raises for lone surrogates


def is_representation(kind: str, value: Any) -> bool:
    """Return whether a MIME type can have this value: text, or any value if the type is JSON."""
    return isinstance(value, str) or kind == "application/json" or kind.endswith("+json")


def depth_of(value: Any) -> int:
    """Return how deep a JSON value is nested."""
    depth, level = 0, [value]
    while level := [
        inner
        for outer in level
        if isinstance(outer, dict | list)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]:
        depth += 1
    return depth


def schemas() -> dict[str, dict[str, Any]]:
    """Return the description and the JSON schema of the arguments of each kind of action."""
    return {name: schema(kind) for name, kind in zip(NAMES, KINDS, strict=True)}


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of an action's arguments; `kind` is the tool's name."""
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
    """Return the five actions as tools of an OpenAI chat completion."""
    return [
        {"type": "function", "function": {"name": name, **schema}}
        for name, schema in schemas().items()
    ]
