"""Frame the messages between the host and the grading process."""

import json
import struct
from collections.abc import Mapping
from typing import Any

LENGTH = struct.Struct(">Q")


def packed(message: Mapping[str, Any]) -> bytes:
    """One message."""
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data
