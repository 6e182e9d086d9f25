import pytest

from kernel_env.errors import UnknownName
from kernel_env.tasks import catalog
from support.embedded_tasks import EMBEDDED


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.find("nope")

    assert str(caught.value) == f"no task named 'nope'; known: {', '.join(EMBEDDED)}"
