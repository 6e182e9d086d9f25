"""The page of an episode needs no network, and nothing in it runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env.episode.html_page import POLICY
from kernel_env.episode.notebook import render
from kernel_env.episode.step import CellExecuted
from kernel_env.episode.trajectory import Trajectory
from kernel_env.kernel.cell import Cell
from kernel_env.report.page import page_of, title_of
from support.cli import run_cli
from support.hostile_text import HOSTILE
from support.trajectories import HEADER, cell_step

EPISODE = Path(__file__).parent.parent / "data" / "v0.1" / "episodes" / "finished"


def page(**header: str) -> str:
    return page_of(render(Trajectory(header=replace(HEADER, **header), steps=(cell_step(1),))))


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    found = page()

    assert "<script" not in found
    assert POLICY in found
    assert re.findall(r"(?:src|href)=\"(?!data:image/png|#)[^\"]*", found) == []


def test_formulas_are_text() -> None:
    found = page(description=r"The error is $\frac{1}{n} \sum_i |\hat y_i - y_i|$.")

    assert "1/n Σᵢ" in found
    assert "frac" not in found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_are_text(name: str) -> None:
    text = HOSTILE[name].encode(errors="replace").decode()
    outputs = (
        {"output_type": "stream", "name": "stdout", "text": text},
        {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]},
        {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/html": text}, "metadata": {}},
    )
    step = replace(
        cell_step(1, text), thought=text, outcome=CellExecuted(cell=Cell(outputs=outputs))
    )
    notebook = render(Trajectory(header=replace(HEADER, agent=text, task_name=text), steps=(step,)))

    found = page_of(notebook)

    assert not re.search(r"<(script|iframe|svg|form|object|embed)", found)
    assert not re.search(r"<[^>]*\son\w+=", found)
    assert "<title>" in found
    assert title_of(notebook)


def test_the_command_writes_the_page_beside_the_notebook(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes((EPISODE / "journal.jsonl").read_bytes())

    done = run_cli("export", str(tmp_path), "--html")

    assert done.stdout == f"page: {tmp_path / 'trajectory.html'}\n"
    assert "<h1" in (tmp_path / "trajectory.html").read_text()
