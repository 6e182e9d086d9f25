"""Write requests to a kernel and read its messages, looking at their size before they are parsed.

A message of the Jupyter protocol has the parts

    [topic …] <IDS|MSG> signature header parent_header metadata content [buffer …]

A signature proves little: only the kernel and what it started can write to the sockets, and they
have the key. It is checked where a message ends a cell, because a kernel that has lost its key
would not take the next one.
"""

import hmac
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DELIMITER = b"<IDS|MSG>"
HEADER_BYTES = 4096
"""Most bytes of a header that is parsed."""
SIMPLE_BYTES = 16 * 1024
"""A content up to this size is parsed whatever it contains."""
MAX_VALUES = 20_000
"""Most JSON values in a larger content; parsing and copying more takes too long."""
MAX_ESCAPES = 250_000
"""Most escape sequences in a larger content."""
MAX_DIGITS = 100
"""Most characters of a number; Python's parser takes milliseconds for one of a megabyte."""

INVALID = (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError)
"""What parsing something invalid raises."""


class TooLarge(ValueError):
    """A content is larger than is parsed."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message whose content has not been parsed."""

    kind: str
    parent: str | None
    """ID of the request that it belongs to."""
    content: bytes
    size: int
    """Bytes of all its parts."""
    signature: bytes = b""
    signed: bytes = b""
    """What the signature is for, apart from the content."""
    metadata: bytes = b"{}"
    buffers: tuple[bytes, ...] = ()
    """Binary data beside the content, of widgets for example."""

    def check_signature(self, key: bytes) -> None:
        """Raise `ValueError` if the message was not signed with this key."""
        if not hmac.compare_digest(self.signature, signature(key, self.signed + self.content)):
            raise ValueError("a wrong signature")


def request(
    kind: str,
    content: Mapping[str, Any],
    key: bytes,
    session: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    buffers: Sequence[bytes] = (),
) -> tuple[str, Any]:
    """Return the ID and the parts of a request."""
    number = os.urandom(16).hex()
    header = {
        "msg_id": number,
        "msg_type": kind,
        "username": "kernel-env",
        "session": session,
        "date": datetime.now(UTC).isoformat(),
        "version": "5.4",
    }
    parts = [json.dumps(part).encode() for part in (header, {}, metadata or {}, content)]
    return number, [DELIMITER, signature(key, b"".join(parts)), *parts, *buffers]


def signature(key: bytes, data: bytes) -> bytes:
    """Return the signature of the last four parts of a message."""
    return hmac.digest(key, data, "sha256").hex().encode()


def read(parts: Sequence[bytes]) -> Message:
    """Return a message; raises one of `INVALID` if it is not one."""
    start = parts.index(DELIMITER)
    given, header, parent, metadata, content = parts[start + 1 : start + 6]
    kind, number = parsed_header(header).get("msg_type"), parsed_header(parent).get("msg_id")
    if not isinstance(kind, str):
        raise TypeError("the type of a message is a text")
    return Message(
        kind=kind,
        parent=number if isinstance(number, str) else None,
        content=content,
        size=sum(map(len, parts)),
        signature=given,
        signed=header + parent + metadata,
        metadata=metadata,
        buffers=tuple(parts[start + 6 :]),
    )


def parsed_header(data: bytes) -> dict[str, Any]:
    """Parse a header."""
    if len(data) > HEADER_BYTES:
        raise TooLarge(f"a header of {len(data):,} bytes")
    return parsed_object(data)


def parsed_content(data: bytes, limit_bytes: int) -> dict[str, Any]:
    """Parse a content that is not too large, and has not too many values.

    Raises `TooLarge`, or another of `INVALID`.
    """
    if len(data) > limit_bytes:
        raise TooLarge(f"{len(data):,} bytes")
    if len(data) > SIMPLE_BYTES and has_many_values(data):
        raise TooLarge(f"{len(data):,} bytes with more than {MAX_VALUES:,} values")
    return parsed_object(data)


def has_many_values(data: bytes, limit: int = MAX_VALUES) -> bool:
    """Return whether a JSON text has more values than the limit, without parsing it.

    Counts commas and brackets outside of strings. May be wrong for what is not valid JSON.
    """
    if data.count(b"\\") > MAX_ESCAPES:
        return True
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if data.count(b'"') > 4 * limit:
        return True
    outside = b"".join(data.split(b'"')[::2])
    return sum(map(outside.count, (b",", b"[", b"{"))) > limit


def parsed_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Numbers that JSON does not know become None."""
    value = PARSER.decode(data.decode("utf-8", "surrogatepass"))
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def number(text: str) -> float | None:
    """Parse a number with a fraction or an exponent."""
    value = float(text) if len(text) <= MAX_DIGITS else math.inf
    return value if math.isfinite(value) else None


def whole_number(text: str) -> int | None:
    """Parse a whole number."""
    return int(text) if len(text) <= MAX_DIGITS else None


PARSER = json.JSONDecoder(parse_float=number, parse_int=whole_number, parse_constant=lambda _: None)
