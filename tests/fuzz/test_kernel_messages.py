"""Whatever bytes a kernel sends, reading them fails in one of the known ways or not at all."""

import json
import random
from typing import Any

import nbformat

from kernel_env.kernel.connection import messages
from kernel_env.kernel.connection.messages import DELIMITER, INVALID
from kernel_env.kernel.connection.output_intake import LIMITS, OutputIntake
from kernel_env.kernel.connection.outputs import DISPLAY_BYTES, HEAD_BYTES, size_of
from kernel_env.kernel.connection.zmtp import (
    GREETING,
    MORE,
    MessageReader,
    ProtocolViolation,
    frame,
    ready,
)
from support.fuzz import damaged, json_value, random_sources

FIELDS = (
    *("name", "text", "data", "metadata", "transient", "execution_count", "ename", "evalue"),
    *("traceback", "wait"),
)


def content(source: random.Random) -> bytes:
    """Return the content of a message, often of the right form."""
    fields: dict[str, Any] = {
        name: json_value(source) for name in source.sample(FIELDS, source.randrange(6))
    }
    if source.random() < 0.5:
        fields |= {"name": "stdout", "text": str(json_value(source, 0))}
    if source.random() < 0.5:
        fields["transient"] = {"display_id": source.choice("abc")}
        fields["data"] = {"text/plain": str(json_value(source, 0)), "application/json": {**fields}}
    data = json.dumps(fields).encode()
    return damaged(source, data) if source.random() < 0.3 else data


def wire(source: random.Random, count: int) -> bytes:
    """Return messages as a kernel sends them."""
    data = GREETING + ready("SUB")
    for _ in range(count):
        header = json.dumps({"msg_type": source.choice([*LIMITS, "status"])}).encode()
        parts = [b"topic", DELIMITER, b"", header, b"{}", b"{}", content(source)]
        data += b"".join([*(frame(part, MORE) for part in parts[:-1]), frame(parts[-1])])
    return damaged(source, data) if source.random() < 0.5 else data


def test_any_bytes_become_valid_and_bounded_outputs() -> None:
    for source in random_sources():
        reader, intake = MessageReader(), OutputIntake()
        data, piece = wire(source, source.randrange(1, 12)), source.choice([7, 100, 1 << 15])

        try:
            for at in range(0, len(data), piece):
                for parts in reader.feed(data[at : at + piece]):
                    try:
                        intake.take(messages.read(parts))
                    except INVALID:
                        continue
        except ProtocolViolation:
            pass
        outputs = intake.outputs()

        seed = source.seed_used  # type: ignore[attr-defined]
        nodes = [nbformat.from_dict(output) for output in outputs]
        cell = nbformat.v4.new_code_cell("", id="c", outputs=nodes)
        nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
        assert sum(map(size_of, outputs)) < DISPLAY_BYTES + 4 * HEAD_BYTES, f"seed {seed}"
        json.dumps(outputs, allow_nan=False).encode()
