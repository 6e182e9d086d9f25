"""Check the settings of the tree agent; each wrong one is an error of one line."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kernel_env.errors import AgentSetupError, UnknownName
from kernel_env.field_docs import show_fields
from kernel_env.untrusted_text import quote_value

POLICIES = ("aide", "mcts")
RANGES: dict[str, tuple[float, float]] = {
    "drafts": (1, 1000),
    "width": (1, 64),
    "kernels": (3, 1000),
    "debug_depth": (0, 100),
    "debug_probability": (0, 1),
    "children": (1, 1000),
    "exploration": (0, 1000),
}
"""The least and the largest value of each number."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the tree agent, `--set NAME=VALUE`."""

    policy: str = "aide"
    """`aide` continues the best node, `mcts` also explores; see `policies`."""
    prepare: bool = True
    """Whether the model first writes a cell with what all solutions need: it runs once."""
    drafts: int = 5
    """Number of first solutions; with `mcts`, the children of the root."""
    width: int = 2
    """Number of branches at the same time, as far as the sandbox's memory suffices."""
    kernels: int = 12
    """Number of kernels that run, the root's included; those of the worst nodes end first."""
    debug_depth: int = 3
    """Number of consecutive repairs, after which a branch is given up."""
    debug_probability: float = 0.5
    """`aide`: how often a broken branch is repaired, if there is one."""
    children: int = 3
    """`mcts`: number of children of a node; a broken node has one."""
    exploration: float = 0.25
    """`mcts`: what exploring is worth: the constant of UCT, in units of values from 0 to 1."""


NAMES = tuple(field.name for field in fields(Settings))


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Check settings. Raises `UnknownName`, `AgentSetupError`."""
    for name, value in values.items():
        if name not in NAMES:
            raise UnknownName("setting of the agent tree", name, NAMES)
        if name == "policy" and value not in POLICIES:
            raise UnknownName("policy of the agent tree", str(value), POLICIES)
        if name == "prepare" and not isinstance(value, bool):
            raise AgentSetupError(f"prepare is {quote_value(value)}; it must be true or false")
        if name in RANGES:
            check_number(name, value)
    return Settings(**values)


def check_number(name: str, value: object) -> None:
    """Raise `AgentSetupError` for a value that is no number, or not within its range."""
    least, most = RANGES[name]
    whole = isinstance(getattr(Settings(), name), int)
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]
        kind = "whole number" if whole else "number"
        raise AgentSetupError(
            f"{name} is {quote_value(value)}; it must be a {kind} from {least:g} to {most:g}"
        )
