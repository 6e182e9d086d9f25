import pytest

from kernel_env.errors import UnknownName, UsageError
from kernel_env.tasks import catalog
from support.embedded_tasks import EMBEDDED


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.find("nope")

    assert str(caught.value) == f"no task named 'nope'; known: {', '.join(EMBEDDED)}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/nope", "KERNEL_ENV_TASKS names /nope, which does not exist; give folders that contain"),
        (
            "/etc/passwd",
            "KERNEL_ENV_TASKS names /etc/passwd, which is no folder; give folders that",
        ),
        ("TINY", "KERNEL_ENV_TASKS names the task folder TINY; name its parent, "),
    ],
)
def test_a_wrong_folder_of_tasks_is_one_line(
    tiny: str, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("KERNEL_ENV_TASKS", value.replace("TINY", tiny))

    with pytest.raises(UsageError) as caught:
        catalog.task_folders()

    assert str(caught.value).startswith(message.replace("TINY", tiny))
    assert "\n" not in str(caught.value)
