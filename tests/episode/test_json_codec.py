"""Actions are parsed from JSON with one-line errors, and described as tools."""

import json
from dataclasses import fields

import pytest

from kernel_env.episode import json_codec
from kernel_env.episode.actions import KINDS
from kernel_env.errors import ActionError


def test_each_tool_has_the_schema_of_its_action() -> None:
    tools = {tool["function"]["name"]: tool["function"] for tool in json_codec.tools()}

    assert list(tools) == ["request_info", "validate_code", "execute_code", "get_history", "reset"]
    for kind in KINDS:
        tool = tools[str(kind.__dataclass_fields__["kind"].default)]
        properties = tool["parameters"]["properties"]
        assert set(properties) == {field.name for field in fields(kind)} - {"kind"}
        assert tool["description"] == kind.__doc__
    assert json.dumps(tools)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("{", "this is not JSON"),
        ("[]", "no action of kind 'list'"),
        ({"kind": "fly"}, "no action of kind 'fly'; known: request_info, validate_code"),
        ({"kind": "execute_code"}, "execute_code is not valid: code: field required"),
        ({"kind": "execute_code", "code": 7}, "code: input should be a valid string"),
        ({"kind": "execute_code", "code": "1", "x": 1}, "x: unexpected|x: extra|x: "),
        ({"kind": "get_history", "last": 0}, "last: input should be greater"),
        ({"kind": "request_info", "info_type": "answers"}, "info_type: input should be 'overview'"),
        ({"kind": "execute_code", "code": "\ud800"}, "its text is not valid Unicode"),
    ],
)
def test_an_invalid_action_is_rejected_in_one_line(action: object, message: str) -> None:
    with pytest.raises(ActionError, match=message) as caught:
        json_codec.parse_action(action)  # type: ignore[arg-type]

    assert "\n" not in str(caught.value)
