"""Without its framework, an adapter says in one line which extra to install."""

import importlib
import pkgutil
import sys
import tomllib
from pathlib import Path

import pytest

from kernel_env import adapters
from kernel_env.errors import MissingExtra

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
FRAMEWORKS = ("inspect_ai", "skyrl_gym", "trl", "verifiers", "verl")
ADAPTERS = sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))
ALONE = "trl"
"""The adapter that imports nothing of its framework: the trainer calls it."""


@pytest.fixture(autouse=True)
def no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FRAMEWORKS:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ADAPTERS:
        monkeypatch.delitem(sys.modules, f"kernel_env.adapters.{name}", raising=False)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != ALONE])
def test_an_adapter_without_its_framework_names_the_extra(name: str) -> None:
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"kernel_env.adapters.{name}")

    extra = name.partition("_")[0]
    assert type(caught.value) is MissingExtra
    assert str(caught.value).startswith(f"kernel_env.adapters.{name} needs the extra {extra} (")
    assert str(caught.value).endswith(f"; run: pip install 'kernel-env[{extra}]'")
    assert extra in PROJECT["optional-dependencies"]


def test_the_environments_for_trl_can_be_made_without_it() -> None:
    assert importlib.import_module(f"kernel_env.adapters.{ALONE}").Environments()
