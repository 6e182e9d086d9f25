"""A notebook contains a whole trajectory, is valid, and is readable."""

import base64
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import render, write_notebook
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError
from kernel_env.jupyter import kernelspecs
from kernel_env.jupyter.sealed_kernel import KernelConfig
from support.episodes import SUBMIT_LINE
from support.trajectories import HEADER, cell_step, trajectories


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_trajectory_survives_the_notebook(trajectory: Trajectory) -> None:
    text = nbformat.writes(render(trajectory))

    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert parse_notebook(notebook) == trajectory


async def test_a_notebook_contains_the_steps_and_readable_text(episode: Episode) -> None:
    await episode.act(RequestInfo(info_type="name"))
    await episode.act(ExecuteCode(code=SUBMIT_LINE), thought="First, a line.")
    await episode.act(ValidateCode(code="1 / 0"))
    await episode.act(GetHistory(last=1))
    await episode.act(Reset())
    steps = list(episode.steps)
    await episode.end()

    notebook = read_notebook(episode.notebook)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert list(parse_notebook(notebook).steps) == steps
    assert list(read_journal(episode.folder / "journal.jsonl").steps) == steps
    for words in (
        "# Tiny",
        "First, a line.",
        "✅",
        "reward 1: ",
        "**Step 3: validate_code.** It ran on a copy",
        "## Submissions",
        "The submission of step 2 counts;",
    ):
        assert words in text
    assert [c.source for c in notebook.cells if c.cell_type == "code"] == [SUBMIT_LINE]
    first = notebook.cells[0]
    assert first.source.startswith("# Tiny: public score 0.0")
    assert base64.b64decode(first.attachments["scores.png"]["image/png"]).startswith(b"\x89PNG")


def test_a_notebook_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.ipynb"
    path.write_text("old")

    with path.open() as reader:
        write_notebook(Trajectory(header=HEADER, steps=(cell_step(1),)), path)
        assert reader.read() == "old"

    assert len(parse_notebook(read_notebook(path)).steps) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["trajectory.ipynb"]


def test_the_sealed_kernel_of_task_or_image_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    trajectory = Trajectory(header=HEADER, steps=())

    def named() -> str:
        write_notebook(trajectory, tmp_path / "trajectory.ipynb")
        name: str = read_notebook(tmp_path / "trajectory.ipynb").metadata.kernelspec.name
        return name

    def offer(name: str, **config: str) -> None:
        content = kernelspecs.definition(KernelConfig(**config), name.title())
        kernelspecs.write(tmp_path / "kernels", name, content)

    assert named() == "python3"
    offer("of-another-image", image="tabular")
    offer("not-sealed", image="base", sandbox="local")
    assert named() == "python3"
    offer("of-the-image", image="base")
    assert named() == "of-the-image"
    offer("of-the-task", image="base", task="tiny")
    assert named() == "of-the-task"


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "no json", '{"cells": []}', '{"nbformat": 4}', "[" * 100_000),
        '{"nbformat": 1, "metadata": {}, "cells": [{"cell_type": "markdown", "source": ["x"]}]}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": 1}]}',
    ],
)
def test_another_file_is_not_a_trajectory(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(content)

    with pytest.raises(UsageError, match=r"not a notebook|not a trajectory"):
        parse_notebook(read_notebook(path))
