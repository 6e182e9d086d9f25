"""A journal stores every step at once, and is read back without loss."""

import asyncio
import shutil
from bisect import bisect_right
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode import chain
from kernel_env.episode.actions import RequestInfo
from kernel_env.episode.journal import Journal, read_journal
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.reading import read_trajectory
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import SandboxError, UsageError
from support.episodes import OpenTiny
from support.trajectories import HEADER, cell_step, trajectories


@given(trajectories())
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_trajectory_survives_the_journal(tmp_path: Path, trajectory: Trajectory) -> None:
    path, steps = tmp_path / "journal.jsonl", list(trajectory.steps)
    path.unlink(missing_ok=True)

    with closing(Journal(path, trajectory.header)) as journal:
        for step in steps:
            journal.append(step)
        for note in trajectory.notes:
            journal.add_note(note)
        if trajectory.ending:
            journal.end(trajectory.ending)

        assert list(journal) == steps
        assert journal[:] == steps
        assert [journal[i] for i in range(len(journal))] == steps
    found = read_journal(path)
    assert (found.header, found.ending) == (trajectory.header, trajectory.ending)
    assert found.notes == trajectory.notes
    assert list(found.steps) == steps


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path, HEADER)) as journal:
        for number in (1, 2, 3):
            journal.append(cell_step(number))
    complete = path.read_bytes()
    line_ends = [offset for offset, byte in enumerate(complete) if byte == ord("\n")]

    for length in range(line_ends[0] + 1, len(complete) + 1, 7):
        path.write_bytes(complete[:length])
        complete_lines = sum(offset < length for offset in line_ends)
        assert len(read_journal(path).steps) == complete_lines - 1


@given(trajectories())
@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_a_journal_that_was_cut_anywhere_has_all_steps_before_the_cut(
    tmp_path: Path, trajectory: Trajectory
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "journal.jsonl"
    with closing(Journal(path, replace(trajectory.header, fork=None))) as journal:
        ends = [path.stat().st_size]
        for step in trajectory.steps:
            journal.append(step)
            ends.append(path.stat().st_size)
    complete, steps = path.read_bytes(), list(trajectory.steps)

    for length in range(ends[-4:][0], len(complete) + 1):
        path.write_bytes(complete[:length])
        written = bisect_right(ends, length) - 1
        found = read_trajectory(folder)
        assert list(found.steps) == steps[:written]
        assert chain.first_difference(found) is None
        if length in (ends[-1], ends[-1] - 1):
            notebook = nbformat.reads(nbformat.writes(render(found)), as_version=4)
            nbformat.validate(notebook)
            assert list(parse_notebook(notebook).steps) == steps[:written]


def test_a_step_takes_the_same_space_at_any_length(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.jsonl", HEADER)) as journal:
        sizes = []
        for number in range(1, 1001):
            journal.append(cell_step(number))
            sizes.append(journal.path.stat().st_size)

    growth = [after - before for before, after in pairwise(sizes)]
    assert max(growth) - min(growth) <= 8


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.jsonl", HEADER)):
        pass

    with pytest.raises(SandboxError, match="cannot be created: File exists"):
        Journal(tmp_path / "journal.jsonl", HEADER)


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"cells": []}', '{"nbformat": 4}'])
def test_another_file_is_not_a_journal(tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(content)

    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(path)


async def test_a_written_step_is_recorded_although_its_task_was_cancelled(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="local", budget={"steps": 100}) as episode:
        for delay_s in [0.00004 * n for n in range(40)]:
            acting = asyncio.create_task(episode.act(RequestInfo(info_type="name")))
            await asyncio.sleep(delay_s)
            acting.cancel()
            await asyncio.wait({acting})

            written = read_journal(episode.steps.path)
            assert len(written.steps) == len(episode.steps) == episode.progress.spent.steps
            assert chain.first_difference(written) is None


async def test_notes_can_be_written_while_a_step_is(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        for _ in range(10):
            acting = asyncio.create_task(episode.act(RequestInfo(info_type="name")))
            while not acting.done():
                episode.note("refused", "a note")
                await asyncio.sleep(0.0001)

    written = read_journal(episode.steps.path)
    assert len(written.steps) == 10
    assert len(written.notes) >= 10
    assert chain.first_difference(written) is None
