"""Describe the actions as tools of a chat model, and parse its calls of them.

The tools are the five actions and `finish`, which ends the episode and takes no step. Whoever
offers tools to a model takes them from here: the `openai` agent, rollouts, servers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kernel_env.episode import json_codec
from kernel_env.episode.actions import Action
from kernel_env.errors import ActionError

FINISH: Final = "finish"
"""The tool with which a model ends the episode."""
FINISH_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": FINISH,
        "description": "End the episode. What was graded counts; nothing can be changed any more.",
        "parameters": {
            "type": "object",
            "properties": {
                "message": {
                    "type": "string",
                    "description": "What you did and what you would try next, for a reader.",
                }
            },
            "additionalProperties": False,
        },
    },
}
TOOLS: list[dict[str, Any]] = [*json_codec.tools(), FINISH_TOOL]
"""All tools, as those of an OpenAI chat completion."""
JSON = json.JSONDecoder(strict=False)
"""Not strict, because models write unescaped line breaks into JSON strings."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An answer, or a part of one, that is not a valid action."""

    reason: str
    """What is wrong and what to do, addressed to the model."""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The request to end the episode."""

    message: str = ""
    """The model's last words."""
    kind: Literal["finish"] = FINISH


Request = Action | Finish | Fault
"""What a model asks for."""


def parse_call(name: str, arguments: object) -> Request:
    """Parse a call of a tool from its name and its arguments, a mapping or JSON text."""
    try:
        if isinstance(arguments, str):
            arguments = JSON.decode(arguments.strip() or "{}")
        if not isinstance(arguments, Mapping | None):
            return Fault(reason=f"the arguments of {name} must be a JSON object")
        data = {**(arguments or {}), "kind": name.removeprefix("functions.")}
        json.dumps(data, ensure_ascii=False).encode()  # raises for lone surrogates
        if data["kind"] == FINISH:
            return Finish(message=str(data.get("message") or ""))
        return json_codec.parse_action(data)
    except ActionError as error:
        return Fault(reason=str(error))
    except UnicodeEncodeError:
        return Fault(reason=f"the arguments of {name} contain a lone surrogate; send valid Unicode")
    except (ValueError, RecursionError) as error:
        return Fault(reason=f"the arguments of {name} are not valid JSON: {error}")
