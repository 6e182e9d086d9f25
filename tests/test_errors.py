import pickle
from collections.abc import Iterator

import pytest

from kernel_env import errors
from kernel_env.audit.trajectory.recording import Unreadable
from kernel_env.errors import KernelEnvError, MissingExtra, ModelError, UnknownName
from kernel_env.kernel.forking.standby import ForkingUnavailable
from kernel_env.sandbox.docker.engine import NoEngine
from kernel_env.tasks.kaggle.competition import DiskFullError


def test_an_unknown_name_lists_the_known_names() -> None:
    error = UnknownName("sandbox", "nope", ["local", "docker"])

    assert str(error) == "no sandbox named 'nope'; known: docker, local"


def test_an_unknown_name_suggests_the_most_similar_name() -> None:
    error = UnknownName("sandbox", "dcoker", ["local", "docker"])

    assert str(error) == ("no sandbox named 'dcoker'; did you mean 'docker'? known: docker, local")


def test_an_unknown_name_without_known_names_says_none() -> None:
    assert str(UnknownName("agent", "nope", [])) == "no agent named 'nope'; known: none"


def kinds(base: type[KernelEnvError] = KernelEnvError) -> Iterator[type[KernelEnvError]]:
    """Yield all classes of errors, those of other modules too."""
    assert {DiskFullError, ForkingUnavailable, NoEngine, Unreadable}  # they are imported
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=lambda kind: kind.__name__))
def test_an_error_can_be_sent_to_another_process(kind: type[KernelEnvError]) -> None:
    arguments = {
        UnknownName: ("agent", "nope", ["yes"]),
        Unreadable: ("it is damaged", "step 3"),
        MissingExtra: ("the page", "html", "no nbconvert"),
    }
    error = kind(*arguments.get(kind, ("it failed",)))
    error.add_note("seen")

    received = pickle.loads(pickle.dumps(error))

    assert type(received) is kind
    assert str(received) == str(error)
    assert received.__notes__ == ["seen"]


def test_an_error_keeps_its_attributes_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(ModelError("busy", retry_after_s=2.5)))

    assert (str(error), error.retry_after_s) == ("busy", 2.5)
    assert isinstance(error, errors.AgentError)
