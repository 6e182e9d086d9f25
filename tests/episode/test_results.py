"""The results of episodes: what the record says, and reading the records of every version."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode import endings
from kernel_env.episode.actions import ValidateCode
from kernel_env.episode.activity import CellCounts, activity_of
from kernel_env.episode.budget import Spent
from kernel_env.episode.result import FORMAT, result_of
from kernel_env.episode.results import parse_result, read_result, read_results
from kernel_env.episode.step import Graded
from kernel_env.episode.trajectory import Ending, Status, Trajectory
from kernel_env.errors import (
    AgentError,
    AgentSetupError,
    KernelError,
    ModelError,
    TaskError,
    UsageError,
)
from kernel_env.grading.grade import Grade, Place
from kernel_env.grading.medals import medal
from support.episodes import SUBMIT_LINE, OpenTiny, execute
from support.trajectories import HEADER, trajectories
from support.v01 import EPISODES


async def test_the_record_counts_what_the_agent_did(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", budget={"cell_seconds": 1}) as episode:
        await execute(episode, SUBMIT_LINE.replace("submit(3)", "submit(2)"))
        await execute(episode, "1 / 0")
        await execute(episode, "import time; time.sleep(60)")
        await execute(episode, "import os; os._exit(3)")
        await episode.act(ValidateCode(code="undefined"))
        await episode.act(ValidateCode(code="pass"))
        await episode.act({"kind": "get_history", "last": 1})
        await episode.act({"kind": "execute_code", "code": "1 / 0"}, actor="human")
        await execute(episode, "submit(3)")
        await execute(episode, "submit(1)")

    result = episode.result
    assert result is not None
    assert result.steps_by_kind == {"execute_code": 6, "get_history": 1, "validate_code": 2}
    assert result.cells == CellCounts(
        execute_run=6, execute_failed=3, validate_run=2, validate_failed=1, timeout=1, broke=1
    )
    assert result.errors["ZeroDivisionError"] == 1
    assert result.errors["NameError"] == 1
    assert [entry[0] for entry in result.best_by_step] == [1, 9]
    assert result.best_by_step[-1][4] == result.public_score
    assert result.best_by_step[-1][3] == result.position_public
    assert (result.domain, result.source, result.metric) == (
        "tabular",
        "",
        "Root mean squared error",
    )
    assert (result.higher_is_better, result.format) == (False, FORMAT)
    assert result.started < result.ended
    assert result.budget["cell_seconds"] == 1
    assert result.normalised_public == pytest.approx(1, abs=0.05)
    assert read_result(episode.folder) == result


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_is_counted_agrees_with_the_steps(trajectory: Trajectory) -> None:
    activity = activity_of(trajectory.steps, higher_is_better=False)

    own = [step for step in trajectory.steps if step.actor == "agent"]
    graded = [s.submission for s in own if isinstance(s.submission, Graded)]
    scores = [entry[4] for entry in activity.best_by_step]
    assert sum(activity.steps_by_kind.values()) == len(own)
    assert activity.cells.execute_failed <= activity.cells.execute_run
    assert activity.cells.validate_run == activity.steps_by_kind.get("validate_code", 0)
    assert scores == sorted(set(scores), reverse=True)
    assert scores[-1:] == sorted(found.grade.public_score for found in graded)[:1]


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=20)
def test_a_record_is_read_as_it_was_written(trajectory: Trajectory) -> None:
    ending = trajectory.ending or Ending(status="finished", reason="", spent=Spent())
    result = result_of(replace(trajectory, ending=ending), Path("/runs/trajectory.ipynb"))

    assert parse_result(json.loads(json.dumps(result.json()))) == result


def test_old_records_are_computed_anew_from_their_journals() -> None:
    old = json.loads((EPISODES / "agent-failed" / "record.json").read_text())

    result = read_result(EPISODES / "agent-failed")

    assert "format" not in old
    assert result is not None
    assert (result.format, result.steps_by_kind) == (FORMAT, {"execute_code": 2})
    assert result.private_score == old["private_score"]
    assert Path(result.notebook) == EPISODES / "agent-failed" / "trajectory.ipynb"


def test_an_old_record_without_a_journal_has_defaults(tmp_path: Path) -> None:
    shutil.copy(EPISODES / "agent-failed" / "record.json", tmp_path)

    (result,) = read_results(tmp_path)

    assert (result.format, result.task, result.domain) == (1, "tiny", "")


def test_all_old_runs_are_read() -> None:
    results = list(read_results(EPISODES))

    assert len(results) == len([*EPISODES.rglob("record.json")])
    notebooks = [Path(result.notebook) for result in results]
    assert notebooks == sorted(notebooks, key=lambda path: path.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 99}', "has format 99; this version of kernel_env reads up to 2: install"),
        ('{"format": "2"}', "has format '2'"),
        ("[]", "it is no object"),
        ("{", "is not the record of a run"),
        ("[" * 9999, "is not the record of a run"),
        ('{"task": 3}', "is not the record of a run: "),
        ('{"private_score": NaN}', "a number in it is not finite"),
        ('{"seconds": 1e999}', "a number in it is not finite"),
        ('{"best_by_step": [[1, 2.0]]}', "is not the record of a run: "),
    ],
)
def test_a_record_that_cannot_be_read_is_one_line(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "record.json").write_text(content)

    with pytest.raises(UsageError) as caught:
        list(read_results(tmp_path))

    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "record.json"))


def test_every_status_has_a_class() -> None:
    assert set(endings.CLASSES) == set(get_args(Status))
    assert {s for s in endings.CLASSES if endings.counts(s)} == {
        "finished", "budget", "agent_failed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AgentError("x"), "agent_failed"),
        (ModelError("x"), "model_failed"),
        (AgentSetupError("x"), "setup_failed"),
        (TaskError("x"), "task_failed"),
        (KernelError("x"), "machine_failed"),
        (ValueError("x"), "crashed"),
    ],
)
def test_an_error_says_who_failed(error: Exception, status: str) -> None:
    assert endings.status_of(error) == status


@pytest.mark.parametrize(
    ("rank", "entries", "expected"),
    [
        (1, 5, "gold"), (2, 5, "bronze"), (3, 5, ""), (10, 150, "gold"), (30, 150, "silver"),
        (31, 150, "bronze"), (61, 150, ""), (12, 1000, "gold"), (50, 1000, "silver"),
        (51, 1000, "bronze"), (101, 1000, ""),
    ],
)  # fmt: skip
def test_a_place_earns_a_medal(rank: int, entries: int, expected: str) -> None:
    assert medal(Place(position=0, rank=rank, entries=entries)) == expected


def test_only_human_boards_give_medals() -> None:
    place = Place(position=0.9, rank=1, entries=9)
    grade = Grade(public_score=1, public=place, private_score=1, private=place)
    ending = Ending(status="finished", reason="", spent=Spent(), grade=grade)
    trajectory = Trajectory(header=HEADER, steps=(), ending=ending)
    human = replace(trajectory, header=replace(HEADER, leaderboard_kind="human"))

    assert result_of(trajectory, Path("n")).medal is None
    assert result_of(human, Path("n")).medal == "gold"
