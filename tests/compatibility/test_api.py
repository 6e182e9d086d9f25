"""Names that programs use are as they were in version 0.1."""

import base64
import functools
import inspect
from importlib.metadata import entry_points
from typing import Any

import pytest

import kernel_env
from kernel_env import errors
from kernel_env.episode import json_codec
from support.v01 import (
    API,
    CHANGED_DEFAULTS,
    entries,
)


def parameters(what: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": p.name,
            "kind": p.kind.name,
            "default": None if p.default is p.empty else repr(p.default),
        }
        for p in inspect.signature(what).parameters.values()
    ]


def old_parameters(what: Any, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parameters, without new ones that are keywords and have a default.

    Defaults that were changed on purpose are given as they were.
    """
    names = {parameter["name"] for parameter in old}
    found = parameters(what)
    for parameter in found:
        before, now = CHANGED_DEFAULTS.get(parameter["name"], ("", ""))
        if parameter["default"] == repr(now):
            parameter["default"] = repr(before)
    return [
        parameter
        for parameter in found
        if parameter["name"] in names
        or (parameter["kind"], parameter["default"] is None) != ("KEYWORD_ONLY", False)
    ]


@pytest.mark.parametrize("name", API["names"])
def test_a_public_name_takes_what_it_took(name: str) -> None:
    old, found = API["names"][name], getattr(kernel_env, name)

    if old["parameters"]:
        assert old_parameters(found, old["parameters"]) == old["parameters"]
    for method, expected in old["methods"].items():
        assert old_parameters(getattr(found, method), expected) == expected
    for property_ in old["properties"]:
        assert isinstance(
            inspect.getattr_static(found, property_), property | functools.cached_property
        )


def test_errors_are_caught_by_what_caught_them() -> None:
    for name, parents in API["errors"].items():
        found = getattr(errors, name)
        assert [it.__name__ for it in found.__mro__[1:] if it is not object] == parents


def test_plug_ins_have_their_names_and_can_be_loaded() -> None:
    for group, names in API["plugins"].items():
        ours = [e for e in entry_points(group=group) if e.value.startswith("kernel_env")]
        assert {entry.name for entry in ours} >= set(names)
        assert all(entry.load() for entry in ours)


def without_descriptions(value: Any) -> Any:
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    if isinstance(value, dict):
        return {k: without_descriptions(v) for k, v in value.items() if k != "description"}
    return value


def test_tools_and_observations_are_as_they_were() -> None:
    env = kernel_env.make("tiny")
    assert sorted(env.observation_space.spaces) == API["observation"]
    assert env.spec is not None
    assert env.spec.id == API["spec_id"]
    assert without_descriptions(json_codec.tools()) == without_descriptions(API["tools"])


def test_pictures_are_still_pictures() -> None:
    found = [
        output["data"]["image/png"]
        for step in entries("finished", "step")
        for output in (step["outcome"].get("cell") or {}).get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert found
    assert all(base64.b64decode(each).startswith(b"\x89PNG") for each in found)
