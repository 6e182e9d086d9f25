"""Requests are written as Jupyter does, and messages are measured before they are parsed."""

import json

import pytest
from jupyter_client.session import Session

from kernel_env.kernel.connection import messages
from kernel_env.kernel.connection.messages import (
    INVALID,
    MAX_VALUES,
    TooLarge,
    has_many_values,
    parsed_content,
)

LIMIT = 1 << 20


def test_a_request_is_read_by_jupyter_client() -> None:
    number, parts = messages.request("execute_request", {"code": "é"}, b"key", "session")

    message = Session(key=b"key").deserialize(parts[1:])

    assert message["msg_id"] == number
    assert message["msg_type"] == "execute_request"
    assert message["content"] == {"code": "é"}


def test_a_message_of_jupyter_client_is_read() -> None:
    session = Session(key=b"key")
    parent = session.msg("execute_request")
    parts = session.serialize(session.msg("stream", {"text": "a"}, parent=parent), ident=b"topic")

    message = messages.read(parts)

    assert (message.kind, message.parent) == ("stream", parent["msg_id"])
    assert parsed_content(message.content, LIMIT) == {"text": "a"}
    message.check_signature(b"key")
    with pytest.raises(ValueError, match="a wrong signature"):
        message.check_signature(b"other")


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"<IDS|MSG>"],
        [b"<IDS|MSG>", b"", b"[]", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b'{"msg_type": 7}', b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b'{"msg_type": "\xff"}', b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b'{"msg_type": "a"}', b"[" * 4000, b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b'{"msg_type": "a", "b": "' + b"x" * 5000 + b'"}', b"{}", b"{}", b"{}"],
    ],
)
def test_what_is_no_message_is_not_read(parts: list[bytes]) -> None:
    with pytest.raises(INVALID):
        messages.read(parts)


def test_a_content_with_many_values_is_not_parsed() -> None:
    few, many = [0] * (MAX_VALUES - 100), [0] * (MAX_VALUES + 100)

    assert len(parsed_content(json.dumps({"a": few}).encode(), LIMIT)["a"]) == len(few)
    with pytest.raises(TooLarge, match="more than 20,000 values"):
        parsed_content(json.dumps({"a": many}).encode(), LIMIT)
    with pytest.raises(TooLarge, match="1,048,577 bytes"):
        parsed_content(b" " * (LIMIT + 1), LIMIT)


@pytest.mark.parametrize("text", [",[{" * MAX_VALUES, '\\"' * 10_000, '",' * 10_000, "\\\\"])
def test_values_are_counted_outside_of_strings(text: str) -> None:
    assert not has_many_values(json.dumps({"a": text}).encode())


def test_numbers_that_are_not_finite_or_very_long_become_none() -> None:
    data = b'{"a": [NaN, Infinity, 1e999, 1' + b"0" * 5000 + b", 0." + b"1" * 5000 + b", 1.5]}"

    assert parsed_content(data, LIMIT) == {"a": [None] * 5 + [1.5]}
