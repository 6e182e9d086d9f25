"""`auto` isolates code that is not the operator's own, or does not run it."""

import warnings
from importlib.metadata import entry_points

import pytest

from kernel_env import plugins
from kernel_env.errors import SandboxError, UnknownName
from kernel_env.sandbox.local import LocalSandbox
from kernel_env.sandbox.selection import NotIsolatedWarning, choose


@pytest.fixture
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.usefixtures("_no_engine")
def test_auto_without_an_engine_fails_for_code_that_is_not_trusted() -> None:
    with pytest.raises(SandboxError, match="no Docker engine answers at unix:///nowhere") as caught:
        choose("auto", trusted=False)

    assert "--sandbox local runs it as you all the same" in str(caught.value)


@pytest.mark.usefixtures("_no_engine")
def test_auto_without_an_engine_is_local_for_trusted_code_and_says_so() -> None:
    with pytest.warns(NotIsolatedWarning, match="NOTHING IS ISOLATED.*no Docker engine answers"):
        name, make = choose("auto", trusted=True)

    assert (name, make) == ("local", LocalSandbox)


@pytest.mark.parametrize("trusted", [True, False])
def test_local_is_used_when_it_is_named(*, trusted: bool) -> None:
    with pytest.warns(NotIsolatedWarning, match="NOTHING IS ISOLATED in the sandbox local"):
        name, _ = choose("local", trusted=trusted)

    assert name == "local"


def test_a_plug_in_that_does_not_isolate_warns_like_local(monkeypatch: pytest.MonkeyPatch) -> None:
    class Open(LocalSandbox):
        isolated = False

    class Sealed(LocalSandbox):
        isolated = True

    kinds = {"open": Open, "sealed": Sealed}
    monkeypatch.setattr(plugins, "find", lambda kind, name: kinds[name])

    with pytest.warns(NotIsolatedWarning, match="NOTHING IS ISOLATED in the sandbox open"):
        assert choose("open", trusted=True) == ("open", Open)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose("sealed", trusted=False) == ("sealed", Sealed)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'docker'\? known: auto, docker, "):
        choose("dcoker", trusted=True)
    assert {"docker", "local"} <= entry_points(group="kernel_env.sandboxes").names
