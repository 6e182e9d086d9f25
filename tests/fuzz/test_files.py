"""A journal, a notebook or a script by anybody is read, or is one clear error."""

import json
import warnings
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.agents import script
from kernel_env.episode import json_codec
from kernel_env.episode.budget import Budget
from kernel_env.episode.journal import read_header, read_journal
from kernel_env.episode.notebook import render, write_notebook
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.observation import history, observe
from kernel_env.episode.result import result_of
from kernel_env.episode.step import Progress
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Trajectory
from kernel_env.errors import UsageError
from support.fuzz import examples
from support.hostile_text import active_cells, is_clean
from support.mutations import damaged_bytes, damaged_json
from support.trajectories import trajectories

FUZZ = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
pytestmark = pytest.mark.filterwarnings("ignore")  # nbformat's, of notebooks without IDs


@st.composite
def journals(draw: st.DrawFn) -> bytes:
    """Draw a damaged journal, or any bytes."""
    lines = journal_lines(draw(trajectories()))
    match draw(st.sampled_from(["line", "bytes", "order", "any"])):
        case "line":
            number = draw(st.integers(0, len(lines) - 1))
            lines[number] = draw(damaged_json(json.loads(lines[number])))
        case "bytes":
            return draw(damaged_bytes("".join(f"{line}\n" for line in lines).encode()))
        case "order":
            lines = draw(st.permutations(lines))
        case "any":
            return draw(st.binary(max_size=200))
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")


def journal_lines(trajectory: Trajectory) -> list[str]:
    """Return the lines of a trajectory's journal, as `Journal` writes them."""
    lines = [
        b'{"header": %s}' % HEADER.dump_json(trajectory.header),
        *(b'{"step": %s}' % json_codec.step_json(step) for step in trajectory.steps),
        *(b'{"note": %s}' % NOTE.dump_json(note) for note in trajectory.notes),
        *([b'{"ending": %s}' % ENDING.dump_json(trajectory.ending)] if trajectory.ending else []),
    ]
    return [line.decode() for line in lines]


def check_message(error: UsageError) -> None:
    """Check that an error is one line."""
    assert is_clean(str(error), allowed="")


def check_readable(trajectory: Trajectory, folder: Path) -> None:
    """Check that everything can be computed from a trajectory that was read."""
    notebook = folder / "out.ipynb"
    write_notebook(trajectory, notebook)
    again = parse_notebook(read_notebook(notebook))
    assert len(again.steps) == len(trajectory.steps)
    assert active_cells(render(trajectory)) == []
    history(list(trajectory.steps)).encode()
    for step in trajectory.steps:
        observe(step, Progress(higher_is_better=True), Budget()).text.encode()
    if trajectory.ending:
        json.dumps(result_of(trajectory, notebook).json())


@given(data=journals())
@FUZZ
def test_any_journal(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)

    try:
        read_header(path)
        trajectory = read_journal(path)
    except UsageError as error:
        check_message(error)
        return
    check_readable(trajectory, tmp_path)


@st.composite
def notebooks(draw: st.DrawFn) -> bytes:
    """Draw a damaged notebook, or any bytes."""
    text = nbformat.writes(render(draw(trajectories())))
    match draw(st.sampled_from(["json", "bytes", "any", "old"])):
        case "json":
            return draw(damaged_json(json.loads(text))).encode(errors="surrogatepass")
        case "bytes":
            return draw(damaged_bytes(text.encode()))
        case "old":
            old = {
                "nbformat": draw(st.sampled_from([1, 2, 3, 4, 5])),
                "nbformat_minor": 0,
                "metadata": {},
                "cells": json.loads(text)["cells"],
                "worksheets": [{"cells": json.loads(text)["cells"]}],
            }
            return draw(damaged_json(old)).encode(errors="surrogatepass")
    return draw(st.binary(max_size=200))


@given(data=notebooks())
@FUZZ
def test_any_notebook(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trajectory.ipynb"
    path.write_bytes(data)

    for read in (lambda: parse_notebook(read_notebook(path)), lambda: script.read(path)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read()
            except UsageError as error:
                check_message(error)
                continue
        if isinstance(found, Trajectory):
            check_readable(found, tmp_path)


ACTIONS = [
    {"kind": "execute_code", "code": "1", "thought": "x"},
    {"kind": "get_history", "last": 3},
    {"kind": "request_info", "info_type": "all"},
]


@given(
    data=st.one_of(
        damaged_json(ACTIONS).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=200),
    )
)
@FUZZ
def test_any_script(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "actions.json"
    path.write_bytes(data)

    try:
        script.read(path)
    except UsageError as error:
        check_message(error)
