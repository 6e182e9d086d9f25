"""Placeholders are found, and what a task lacks before others can use it."""

from pathlib import Path

import pytest

from kernel_env.audit.task.publication import check
from kernel_env.tasks import spec
from support.files import replace_text


@pytest.mark.parametrize("text", ["TODO", "tbd", "?", "…", "your licence", "TODO: ask", "n/a"])
def test_a_placeholder_is_no_licence(task_folder: Path, text: str) -> None:
    replace_text(task_folder / "task.toml", 'licence = "CC0"', f'licence = "{text}"')

    (found,) = check(spec.load(task_folder))

    assert (found.check, found.verdict, found.text) == (
        "publication",
        "failed",
        f"task.toml: licence is {text!r}, a placeholder; write it; a private task can omit it",
    )


def test_a_task_that_lacks_nothing_must_be_finished(task_folder: Path) -> None:
    (task_folder / "solution.ipynb").write_text("{}")

    (complete,) = check(spec.load(task_folder))
    (task_folder / "description.md").write_text("# Tiny\n\nTODO: where the rows come from.\n")
    (unfinished,) = check(spec.load(task_folder))

    assert complete.verdict == "ok"
    assert (unfinished.verdict, unfinished.text) == (
        "failed",
        "description.md contains TODO; write what is missing",
    )
