"""Reference agents play the tiny task and changed copies of it, in real kernels."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from kernel_env.agents.base import Agent
from kernel_env.episode import EpisodeConfig
from kernel_env.episode.journal import read_journal
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import read_result
from kernel_env.episode.step import CellExecuted
from kernel_env.runner import Plan, run_episode
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare
from support.cli import error_line, run_cli
from support.episodes import text_of_output

AGENTS = ("nop", "sample", "constant", "random-valid", "automl-lite")
LEARNING = (
    "automl-lite",
    pytest.param("constant", marks=pytest.mark.slow),
    pytest.param("random-valid", marks=pytest.mark.slow),
)
"""The agents that read the training targets."""
UNLABELLED = ("train.to_csv", 'train.drop(columns="y").to_csv')
"""A change of prepare.py: no public table has the target."""
SECOND_TARGET = (
    ("    train, test = table", '    table["z"] = -table.y\n    train, test = table'),
    ('drop(columns="y")', 'drop(columns=["y", "z"])'),
    ('assign(y=0.0)[["id", "y"]]', 'assign(y=0.0, z=0.0)[["id", "y", "z"]]'),
    ('[["id", "y", "Usage"]]', '[["id", "y", "z", "Usage"]]'),
    ('target_columns = ["y"]', 'target_columns = ["y", "z"]'),
)
CLASSES = (
    (
        "    train, test = table",
        '    table["y"] = np.where(table.y > 0, "yes", "NA")\n'
        '    table["kind"] = rng.choice(["a", "b"], 200)\n'
        '    table["seen"] = pd.date_range("2020-01-01", periods=200).astype(str)\n'
        '    words = rng.choice(["red", "blue", "green", "grey", "pink"], (200, 6))\n'
        '    table["note"] = [" ".join(row) for row in words]\n'
        '    table["person"] = np.where(np.arange(200) < 140, "t", "s") + '
        "pd.Series(np.arange(200) // 5).astype(str)\n"
        "    train, test = table",
    ),
    ("assign(y=0.0)", 'assign(y="NA")'),
    ('kind = "regression"', 'kind = "binary classification"'),
    ('name = "rmse"', 'name = "macro_f1"'),
)
"""Changes that make the target a class, one of which pandas reads as missing, and add columns."""


async def play(task: Path | str, agent: str, out: Path, seed: int = 0) -> EpisodeResult:
    config = EpisodeConfig(task=str(task), agent=agent, sandbox="local", out=str(out), seed=seed)
    return await run_episode(Plan(config=config))


def change(folder: Path, changes: Sequence[tuple[str, str]]) -> Path:
    """Replace text in prepare.py and task.toml; each must occur in one of them."""
    for old, new in changes:
        found = [p for p in (folder / "prepare.py", folder / "task.toml") if old in p.read_text()]
        assert found, old
        for path in found:
            path.write_text(path.read_text().replace(old, new))
    return folder


def printed(result: EpisodeResult) -> str:
    """Return what all cells of an episode printed, and their errors."""
    steps = read_journal(Path(result.notebook).with_name("journal.jsonl")).steps
    outcomes = [step.outcome for step in steps if isinstance(step.outcome, CellExecuted)]
    return "".join(text_of_output(o) for outcome in outcomes for o in outcome.cell.outputs)


def submission(result: EpisodeResult) -> bytes:
    """Return the submission that counts."""
    (path,) = Path(result.notebook).parent.glob("submissions/*")
    return path.read_bytes()


async def test_nop_ends_without_a_step(tiny: str, tmp_path: Path) -> None:
    result = await play(tiny, "nop", tmp_path)

    assert (result.status, result.steps, result.public_score) == ("finished", 0, None)
    assert result.flags == {}


async def test_sample_submits_the_sample(tiny: str, tmp_path: Path) -> None:
    result = await play(tiny, "sample", tmp_path)

    assert (result.status, result.steps) == ("finished", 1)
    assert submission(result).startswith(b"id,y\n140,0.0\n")
    assert result.public_score == pytest.approx(3.0953, abs=1e-4)
    assert result.flags == {"sample copy": 1}
    assert read_result(Path(result.notebook).parent) == result


async def test_constant_submits_the_mean_for_rmse(tiny: str, tmp_path: Path) -> None:
    result = await play(tiny, "constant", tmp_path)

    train = pd.read_csv(prepare(spec.load(Path(tiny))).public / "train.csv")
    assert printed(result) == f"y: {train.y.to_numpy().mean()} for every row\n"
    assert result.public_score == pytest.approx(3.1437, abs=1e-4)


async def test_random_valid_depends_on_the_seed(tiny: str, tmp_path: Path) -> None:
    first, other = [await play(tiny, "random-valid", tmp_path, seed) for seed in (0, 1)]

    assert submission(first) != submission(other)
    assert "with seed 1" in printed(other)


@pytest.mark.slow
async def test_automl_lite_finds_the_line_and_is_the_same_twice(tiny: str, tmp_path: Path) -> None:
    first, again = [await play(tiny, "automl-lite", tmp_path) for _ in range(2)]

    assert first.position_public == 1.0
    assert submission(first) == submission(again)
    assert "best: linear" in printed(first)


@pytest.mark.parametrize("agent", LEARNING)
async def test_without_a_table_of_targets_the_sample_is_submitted(
    task_folder: Path, tmp_path: Path, agent: str
) -> None:
    result = await play(change(task_folder, [UNLABELLED]), agent, tmp_path / "runs")

    assert result.public_score == pytest.approx(3.0953, abs=1e-4)
    assert "no training table has the targets" in printed(result)
    if agent == "automl-lite":
        assert "The pipeline failed: ValueError: no public table has the target y" in printed(
            result
        )


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["automl-lite", "constant", "random-valid"])
async def test_each_of_several_targets_is_predicted(
    task_folder: Path, tmp_path: Path, agent: str
) -> None:
    result = await play(change(task_folder, SECOND_TARGET), agent, tmp_path / "runs")

    assert result.public_score is not None, printed(result)
    if agent == "automl-lite":
        assert result.public_score < 0.2


@pytest.mark.parametrize("agent", LEARNING)
async def test_classes_are_submitted_as_they_are_written(
    task_folder: Path, tmp_path: Path, agent: str
) -> None:
    result = await play(change(task_folder, CLASSES), agent, tmp_path / "runs")

    values = {line.rpartition(b",")[2] for line in submission(result).split()[1:]}
    assert values <= {b"yes", b"NA"}
    assert result.public_score is not None
    if agent == "automl-lite":
        assert result.public_score > 0.8
        assert "validation: the last" in printed(result)


async def test_automl_lite_tries_the_pipeline_for_tables_when_the_domain_s_fails(
    task_folder: Path, tmp_path: Path
) -> None:
    folder = change(task_folder, [('domain = "tabular"', 'domain = "vision"')])

    result = await play(folder, "automl-lite", tmp_path / "runs")

    assert "The pipeline failed: ValueError: none of the columns" in printed(result)
    assert result.position_public == 1.0


def test_the_oracle_is_refused(tiny: str, tmp_path: Path) -> None:
    out = tmp_path / "runs"

    done = run_cli("run", tiny, "--agent", "oracle", "--sandbox", "local", "--out", out)

    assert "submits the hidden answers" in error_line(done)
    assert "kernel-env tasks check" in error_line(done)
    assert not out.exists()


@pytest.mark.parametrize("agent", AGENTS)
def test_the_agents_are_trusted_plug_ins(agent: str) -> None:
    from kernel_env import plugins
    from kernel_env.agents import Options

    made: Agent = plugins.find("agent", agent)(Options())

    assert made.trusted is True
    assert made.model == ""
