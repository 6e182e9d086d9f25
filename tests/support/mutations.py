"""Damage files: bytes, lines, and values of JSON at any depth."""

import json
from typing import Any

from hypothesis import strategies as st

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 10**400, 2**63, 1e308, float("inf"), float("nan")])
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\ud800", "\0", "../..", "/etc", "x" * 10_000, "stream", "display_data"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
DEEP = st.integers(1, 5_000).map(lambda depth: "[" * depth + "]" * depth)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON value."""
    found = [here]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found += paths(inner, (*here, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any, *, delete: bool) -> Any:
    """Return a JSON value with the value at a path replaced or deleted."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if delete and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], new, delete=delete)
    return copy


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> str:
    """Draw the text of a JSON value in which some values are replaced or deleted."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(value)))
        value = changed(value, path, draw(JSON), delete=draw(st.booleans()))
    text = json.dumps(value)
    if draw(st.booleans()):
        text = text.replace("null", draw(DEEP), 1)
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw bytes with some of them replaced, deleted or repeated."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        middle = draw(st.binary(max_size=8) | st.just(data[start:end] * 2))
        data = data[:start] + middle + data[end:]
    return data
