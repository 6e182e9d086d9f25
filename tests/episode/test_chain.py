"""The chain of digests finds every change of a trajectory, wherever it is stored."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode import Episode, chain
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.journal import Journal, read_journal
from kernel_env.episode.notebook import cells_digest, render
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.trajectory import Trajectory
from support.episodes import SUBMIT_LINE
from support.trajectories import HEADER, cell_step, trajectories

QUIET = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)


def write(path: Path, trajectory: Trajectory) -> Trajectory:
    """Write a trajectory as an episode does, and read it back."""
    path.unlink(missing_ok=True)
    notes = list(trajectory.notes)
    with closing(Journal(path, trajectory.header)) as journal:
        for step in (None, *trajectory.steps):
            if step:
                journal.append(step)
            while notes and notes[0].after_step == len(journal):
                journal.add_note(notes.pop(0))
        if trajectory.ending:
            journal.end(trajectory.ending)
    return read_journal(path)


def unforked(trajectory: Trajectory) -> Trajectory:
    """Return a trajectory whose episode was not forked."""
    return replace(trajectory, header=replace(trajectory.header, fork=None))


@given(trajectories())
@QUIET
def test_journal_and_notebook_have_the_same_digests(tmp_path: Path, trajectory: Trajectory) -> None:
    read = write(tmp_path / "journal.jsonl", unforked(trajectory))
    again = parse_notebook(saved_by_a_browser(nbformat.writes(render(read))))

    assert len(read.digests) == 1 + len(read.steps) + len(read.notes) + bool(read.ending)
    assert chain.digests(read) == read.digests == again.digests
    assert chain.first_difference(read) is None
    assert chain.first_difference(again) is None


def saved_by_a_browser(text: str) -> nbformat.NotebookNode:
    """Return a notebook as JupyterLab saves it: in JavaScript, whole numbers have no fraction."""

    def number(digits: str) -> float:
        value = float(digits)
        return int(value) if value.is_integer() else value

    data = json.loads(text, parse_float=number)
    return nbformat.reads(json.dumps(data, indent=1, ensure_ascii=False), as_version=4)


@given(trajectories())
@QUIET
def test_the_digest_over_the_cells_outlives_a_browser(trajectory: Trajectory) -> None:
    notebook = render(trajectory)

    assert cells_digest(saved_by_a_browser(nbformat.writes(notebook)).cells) == cells_digest(
        notebook.cells
    )


def three_steps(path: Path) -> Trajectory:
    """Return a short trajectory with digests."""
    steps = tuple(cell_step(number, f"x = {number}") for number in (1, 2, 3))
    return write(path / "journal.jsonl", Trajectory(header=HEADER, steps=steps))


def test_the_changed_entry_is_named_and_not_those_after_it(tmp_path: Path) -> None:
    trajectory = three_steps(tmp_path)
    one, two, three = trajectory.steps

    changed = {
        "header": replace(trajectory, header=replace(HEADER, seed=1)),
        "step 1": replace(trajectory, steps=(replace(one, thought="x"), two, three)),
        "step 2": replace(trajectory, steps=(one, replace(two, reward=1.0), three)),
        "step 3": replace(
            trajectory, steps=(one, two, replace(three, action=ExecuteCode(code="x = 4")))
        ),
    }

    for name, other in changed.items():
        difference = chain.first_difference(other)
        assert difference is not None
        assert difference.entry == name


def test_missing_cells_at_the_end_are_found(tmp_path: Path) -> None:
    notebook = render(three_steps(tmp_path))
    notebook.cells = [c for c in notebook.cells if not c.id.startswith("step-0003")]

    difference = chain.first_difference(parse_notebook(notebook))

    assert difference is not None
    assert "missing" in difference.reason


def test_a_line_without_a_digest_is_found(tmp_path: Path) -> None:
    three_steps(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({"step": json.loads(lines[2])["step"]})
    path.write_text("\n".join(lines) + "\n")

    difference = chain.first_difference(read_journal(path))

    assert difference is not None
    assert (difference.entry, difference.reason) == ("step 2", "it has no digest")


def test_a_trajectory_of_version_0_1_has_no_digests(tmp_path: Path) -> None:
    trajectory = replace(three_steps(tmp_path), digests=())

    assert "digests" not in render(trajectory).metadata["kernel_env"]
    assert parse_notebook(render(trajectory)).digests == ()
    with pytest.raises(ValueError, match="no digests"):
        chain.first_difference(trajectory)


async def test_forks_of_forks_continue_the_chain(episode: Episode) -> None:
    for code in ("x = 1", SUBMIT_LINE, "x = 3"):
        await episode.act(ExecuteCode(code=code))
    (child,) = await episode.fork(at_step=2)
    await child.act(ExecuteCode(code="y = 1"))
    (grandchild,) = await child.fork()
    (early,) = await child.fork(at_step=1)
    for one in (grandchild, early):
        await one.act(ExecuteCode(code="z = 1"))
        await one.end()
    await child.end()
    await episode.end()

    found = [read_journal(e.folder / "journal.jsonl") for e in (episode, child, grandchild, early)]

    for trajectory in found:
        assert chain.first_difference(trajectory) is None
        notebook = nbformat.reads(nbformat.writes(render(trajectory)), as_version=4)
        assert chain.first_difference(parse_notebook(notebook)) is None
    first, second, third, fourth = (chain.digests_by_name(trajectory) for trajectory in found)
    assert first["step 2"] == second["step 2"] == third["step 2"]
    assert second["step 3"] == third["step 3"] != first["step 3"]
    assert fourth["step 1"] == first["step 1"]
    assert child.result is not None
    assert (child.result.parent, child.result.parent_step) == (
        episode.setup.header.episode,
        2,
    )
