"""Frame the messages between the host and the grading process."""

import json
import struct
from collections.abc import Mapping
from typing import Any

LENGTH = struct.Struct(">Q")
"""The length of a message in bytes, an unsigned 64-bit integer in network byte order."""


def packed(message: Mapping[str, Any]) -> bytes:
    """Encode a message: its length, then JSON."""
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data
