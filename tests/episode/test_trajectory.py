import json
from contextlib import closing
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.episode import json_codec
from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.budget import Budget, Spent
from kernel_env.episode.journal import Journal, read_journal
from kernel_env.episode.notebook import render, write_notebook
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Progress,
    Rejected,
    Step,
)
from kernel_env.episode.trajectory import Ending, Fork, Header, Trajectory
from kernel_env.errors import UsageError
from kernel_env.grading.grade import Grade, Place
from kernel_env.kernel.cell import Cell, FileChange, Recovery, Variable
from kernel_env.kernel.connection.outputs import OutputCollector

HEADER = Header(
    episode="e",
    task="tiny",
    task_name="Tiny",
    task_version="tiny-1",
    description="# Tiny\n\nPredict.",
    metric="RMSE",
    higher_is_better=False,
    leaderboard_kind="reference",
    budget=Budget(),
    reward="position",
    feedback="public",
    sandbox="local",
    isolated=False,
    image="base",
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)
NAMES = {"outputs", "late", "execution_count"}


def folded(messages: list[tuple[str, dict[str, object]]]) -> tuple[dict[str, object], ...]:
    """Outputs as a kernel's words become them, so that they are what a step can hold."""
    fold = OutputCollector()
    for kind, content in messages:
        fold.take(kind, content)
    return fold.outputs()


BUNDLE = st.dictionaries(
    st.sampled_from(["text/plain", "text/html", "image/png", "application/json", "text/x-ünï"]),
    TEXT | st.lists(TEXT, max_size=2),
    max_size=3,
)
MESSAGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("stream"),
            st.fixed_dictionaries({"name": st.sampled_from(["stdout", "stderr"]), "text": TEXT}),
        ),
        st.tuples(
            st.just("display_data"),
            st.fixed_dictionaries({"data": BUNDLE, "metadata": st.just({})}),
        ),
        st.tuples(
            st.just("execute_result"),
            st.fixed_dictionaries(
                {"data": BUNDLE, "metadata": st.just({}), "execution_count": st.integers(1, 99)}
            ),
        ),
        st.tuples(
            st.just("error"),
            st.fixed_dictionaries(
                {"ename": TEXT, "evalue": TEXT, "traceback": st.lists(TEXT, max_size=3)}
            ),
        ),
    ),
    max_size=5,
)
OUTPUTS = MESSAGES.map(folded)
PLACES = st.builds(
    Place,
    position=st.floats(0, 1),
    rank=st.integers(1, 9),
    entries=st.integers(1, 9),
    normalised=st.none() | NUMBER,
)
GRADES = st.builds(
    Grade,
    public_score=NUMBER,
    public=st.none() | PLACES,
    private_score=st.none() | NUMBER,
    private=st.none() | PLACES,
)
CELLS = st.builds(
    Cell,
    outputs=OUTPUTS,
    execution_count=st.none() | st.integers(1, 1000),
    seconds=st.floats(0, 1e6),
    timed_out=st.booleans(),
    broke=st.none() | TEXT,
    state_lost=st.none() | TEXT,
    recovery=st.none()
    | st.builds(
        Recovery,
        cause=TEXT,
        how=st.sampled_from(["standby", "replay", "again"]),
        before=st.booleans(),
        cells=st.integers(0, 99),
        seconds=st.floats(0, 1e6),
        note=TEXT,
        lost=TEXT,
    ),
    dropped_bytes=st.integers(0, 10**12),
    late=OUTPUTS,
    variables=st.lists(
        st.builds(Variable, name=TEXT, type=TEXT, shape=TEXT, megabytes=NUMBER), max_size=2
    ).map(tuple),
    files=st.lists(st.builds(FileChange, path=TEXT, bytes=st.integers(0, 10**15)), max_size=2).map(
        tuple
    ),
)
SUBMISSIONS = (
    st.none()
    | st.builds(Rejected, reason=TEXT)
    | st.builds(Graded, grade=GRADES, sha256=st.just("0" * 64))
)
DONE = st.one_of(
    st.tuples(
        st.builds(ExecuteCode, code=TEXT),
        st.builds(CellExecuted, cell=CELLS, submission=SUBMISSIONS),
    ),
    st.tuples(st.builds(ValidateCode, code=TEXT), st.builds(CodeValidated, cell=CELLS, note=TEXT)),
    st.tuples(
        st.builds(RequestInfo, info_type=st.sampled_from(["all", "name"])),
        st.builds(InfoShown, text=TEXT),
    ),
    st.tuples(st.builds(GetHistory, last=st.integers(1, 100)), st.builds(InfoShown, text=TEXT)),
    st.tuples(st.just(Reset()), st.just(KernelReset())),
)
SPENT = st.builds(
    Spent,
    steps=st.integers(0, 99),
    seconds=NUMBER,
    output_bytes=st.integers(0, 10**9),
    tokens=st.integers(0, 10**9),
    money=NUMBER,
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    steps = []
    for number, (action, outcome) in enumerate(draw(st.lists(DONE, max_size=4)), 1):
        steps.append(
            Step(
                number=number,
                action=action,
                outcome=outcome,
                thought=draw(TEXT),
                reward=draw(NUMBER),
                reward_reason=draw(TEXT),
                started="2026-01-01T00:00:00.000+00:00",
                spent=draw(SPENT),
            )
        )
    ending = draw(
        st.none()
        | st.builds(
            Ending,
            status=st.just("finished"),
            reason=TEXT,
            spent=SPENT,
            chosen_step=st.none() | st.integers(1, 9),
            grade=st.none() | GRADES,
            missing=TEXT,
        )
    )
    fork = draw(
        st.none()
        | st.builds(
            Fork,
            episode=TEXT,
            step=st.integers(0, 9),
            how=st.sampled_from(["copy", "replay"]),
            cells=st.integers(0, 9),
            lost=TEXT,
            seed=st.none() | st.integers(0, 2**32 - 1),
        )
    )
    return Trajectory(header=replace(HEADER, fork=fork), steps=tuple(steps), ending=ending)


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_steps_to_notebook_to_steps_loses_nothing(trajectory: Trajectory) -> None:
    text = nbformat.writes(render(trajectory))

    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert parse_notebook(notebook) == trajectory


@given(trajectories())
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
def test_steps_to_journal_to_steps_loses_nothing(tmp_path: Path, trajectory: Trajectory) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)

    with closing(Journal(path, trajectory.header)) as journal:
        for step in trajectory.steps:
            journal.append(step)
        if trajectory.ending:
            journal.end(trajectory.ending)

        assert list(journal) == list(trajectory.steps)
        assert journal[:] == list(trajectory.steps)
        assert [journal[i] for i in range(len(journal))] == list(trajectory.steps)
    found = read_journal(path)
    assert (found.header, tuple(found.steps), found.ending) == (
        trajectory.header,
        trajectory.steps,
        trajectory.ending,
    )


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_progress_is_what_the_steps_say(trajectory: Trajectory) -> None:
    progress = Progress(higher_is_better=False)
    for step in trajectory.steps:
        progress = progress.after(step)

    scores = [
        s.submission.grade.public_score
        for s in trajectory.steps
        if isinstance(s.submission, Graded)
    ]
    assert progress.steps == len(trajectory.steps)
    assert progress.submissions == len(scores)
    assert (progress.best.grade.public_score if progress.best else None) == min(
        scores, default=None
    )
    assert progress.total_reward == pytest.approx(sum(s.reward for s in trajectory.steps))


def step(number: int, code: str = "pass") -> Step:
    return Step(number=number, action=ExecuteCode(code=code), outcome=CellExecuted(cell=Cell()))


def test_a_journal_cut_off_in_the_middle_of_a_line_keeps_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path, HEADER)) as journal:
        for number in (1, 2, 3):
            journal.append(step(number))
    whole = path.read_bytes()
    places = [place for place, byte in enumerate(whole) if byte == ord("\n")]

    for cut in range(places[0] + 1, len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        acknowledged = sum(place < cut for place in places) - 1
        assert len(read_journal(path).steps) == acknowledged


def test_appending_costs_the_same_at_any_length(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.jsonl", HEADER)) as journal:
        sizes = []
        for number in range(1, 1001):
            journal.append(step(number))
            sizes.append(journal.path.stat().st_size)

    grown = [b - a for a, b in pairwise(sizes)]
    assert max(grown) - min(grown) <= 8


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.jsonl", HEADER)):
        pass

    with pytest.raises(Exception, match="cannot be made: File exists"):
        Journal(tmp_path / "journal.jsonl", HEADER)


def test_a_notebook_is_replaced_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.ipynb"
    path.write_text("old")
    holder = path.open()

    write_notebook(Trajectory(header=HEADER, steps=(step(1),)), path)

    assert holder.read() == "old"
    assert len(parse_notebook(read_notebook(path)).steps) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["trajectory.ipynb"]
    holder.close()


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"cells": []}', '{"nbformat": 4}'])
def test_what_is_no_trajectory_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(content)

    with pytest.raises(UsageError, match=r"not a notebook|no trajectory"):
        parse_notebook(read_notebook(path))
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(path)


def test_the_schema_of_the_tools_is_that_of_the_actions() -> None:
    tools = {tool["function"]["name"]: tool["function"] for tool in json_codec.tools()}

    assert list(tools) == ["request_info", "validate_code", "execute_code", "get_history", "reset"]
    for kind in (RequestInfo, ValidateCode, ExecuteCode, GetHistory, Reset):
        name = kind.__dataclass_fields__["kind"].default
        parameters = tools[name]["parameters"]
        assert set(parameters["properties"]) == {f.name for f in fields(kind)} - {"kind"}
        assert tools[name]["description"] == kind.__doc__
    assert json.dumps(tools)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("{", "this is not JSON"),
        ("[]", "no action of kind 'list'"),
        ({"kind": "fly"}, "no action of kind 'fly'; known: request_info, validate_code"),
        ({"kind": "execute_code"}, "execute_code does not fit: code: field required"),
        ({"kind": "execute_code", "code": 7}, "code: input should be a valid string"),
        ({"kind": "execute_code", "code": "1", "x": 1}, "x: unexpected|x: extra|x: "),
        ({"kind": "get_history", "last": 0}, "last: input should be greater"),
        ({"kind": "request_info", "info_type": "answers"}, "info_type: input should be 'overview'"),
        ({"kind": "execute_code", "code": "\ud800"}, "its text is not valid Unicode"),
    ],
)
def test_what_is_no_action_is_refused_in_one_line(said: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        json_codec.parse_action(said)  # type: ignore[arg-type]

    assert "\n" not in str(caught.value)
