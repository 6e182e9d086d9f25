"""Compare the outputs of cells, without what differs by chance."""

import json
import re
from pathlib import Path
from typing import Any

from support.semantics.program import Program

Outputs = list[dict[str, Any]]
"""The outputs of a cell, in nbformat's form."""

ANSI = r"(?:\x1b\[[0-9;]*m)*"
CHANCE = (
    (r"0x[0-9a-f]{6,}", "0x…"),
    (r"[^\s\"'(]*ipykernel_\d+/\d+\.py", "ipykernel.py"),
    (r"\b(pid|PID)([ =:]+)\d+", r"\1\2…"),
    (r"\b\d+(\.\d+)? ?(ns|µs|μs|us|ms|s|min)\b( ?\d+ ?s)?", "… s"),
)
"""Patterns that differ from run to run, and what they are replaced by."""


def comparable(outputs: Outputs, program: Program, root: Path | None = None) -> Outputs:
    """Return outputs merged as front ends do, without what differs by chance.

    Args:
        outputs: of one cell.
        program: its masks are replaced too.
        root: the folder of a sandbox without a file system of its own.
    """
    return [_comparable(output, program, root) for output in merged(outputs)]


def _comparable(value: Any, program: Program, root: Path | None) -> Any:
    match value:
        case dict():
            return {key: _comparable(item, program, root) for key, item in value.items()}
        case list():
            return [_comparable(item, program, root) for item in value]
        case str():
            return _text(value, program, root)
    return value


def _text(text: str, program: Program, root: Path | None) -> str:
    if root is not None:
        text = text.replace(f"{root}/tmp", "/tmp").replace(str(root), "")
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for pattern in program.masks:
        text = re.sub(pattern, "…", text)
    for pattern, replacement in CHANCE:
        text = re.sub(pattern, replacement, text)
    return text


def merged(outputs: Outputs) -> Outputs:
    """Join consecutive texts of a stream, apply carriage returns, and join lines of a bundle."""
    joined: Outputs = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            joined.append(dict(output))
    for output in joined:
        if output["output_type"] == "stream":
            output["text"] = overwritten(output["text"])
        if "traceback" in output:
            output["traceback"] = "\n".join(output["traceback"])
        if "data" in output:
            output["data"] = {
                kind: "".join(v) if isinstance(v, list) and "json" not in kind else v
                for kind, v in output["data"].items()
            }
    return joined


def overwritten(text: str) -> str:
    r"""Apply `\b` and `\r` as front ends do."""
    while (shorter := re.sub(r"[^\n\r\x08]\x08", "", text)) != text:
        text = shorter
    return re.sub(r".*\r(?=[^\n])", "", text)


def described(expected: Outputs, found: Outputs) -> str:
    """Return the first difference between two lists of outputs, as text; empty if equal."""
    if expected == found:
        return ""
    for wanted, got in zip(expected, found, strict=False):
        if wanted != got:
            return f"expected {shown(wanted)}, got {shown(got)}"
    if len(found) > len(expected):
        return f"expected no more, got {shown(found[len(expected)])}"
    return f"expected also {shown(expected[len(found)])}"


def shown(output: dict[str, Any]) -> str:
    """Return a short text of an output."""
    text = output.get("traceback") or output.get("text") or json.dumps(output.get("data", output))
    text = text if len(text) < 700 else f"{text[:250]} […] {text[-400:]}"
    return f"{output['output_type']}: {text!r}"
