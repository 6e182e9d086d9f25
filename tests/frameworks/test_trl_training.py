"""A tiny model learns from exported episodes, and then in groups of branches of a live state."""

import asyncio
import statistics
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

sys.path.append(str(Path(__file__).parents[2] / "notebooks"))
import train_tiny

pytestmark = pytest.mark.frameworks
NOTEBOOKS = Path(train_tiny.__file__).parent


def test_the_reward_of_a_tiny_model_rises(tmp_path: Path) -> None:
    asyncio.run(train_tiny.demonstrate(tmp_path / "runs", "local"))
    rows = train_tiny.exported(tmp_path / "runs")
    tokenizer = train_tiny.tokenizer_of(rows)
    model = train_tiny.model_of(tokenizer, seed=0)
    assert model.num_parameters() < 200_000

    train_tiny.imitate(model, tokenizer, rows, tmp_path, seed=0, steps=200)
    rewards = train_tiny.reinforce(
        model, tokenizer, rows[0]["prompt"], tmp_path, seed=0, steps=24, sandbox="local"
    )

    assert statistics.fmean(rewards[-6:]) > statistics.fmean(rewards[:6]) + 0.05
    parents = {path.parent.name for path in tmp_path.glob("training/*/*/record.json")}
    assert len(parents) == 1 + 24 * train_tiny.GROUP, (
        "one live state, and a branch for each rollout"
    )


def test_the_tutorial_runs_from_top_to_bottom(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS))
    notebook = nbformat.read(NOTEBOOKS / "10_train_a_tiny_model.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = 'SANDBOX = "local"'

    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()

    printed = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "384 rollouts, of 1 live state" in printed["count"]
