"""Steps, submissions and scores of two runs, compared without running anything."""

from dataclasses import replace

import pytest

from kernel_env.audit.trajectory.steps import (
    EXACT,
    compare_finals,
    compare_scores,
    compare_step,
    final_step,
)
from kernel_env.episode.actions import RequestInfo
from kernel_env.episode.step import CellExecuted, Graded, InfoShown, Rejected, Step
from kernel_env.episode.trajectory import Ending, Trajectory
from kernel_env.grading.grade import Grade
from kernel_env.kernel.cell import Cell, Recovery
from support.recorded_run import CELL, every_kind_of_step, spent
from support.trajectories import HEADER, cell_step


def graded(score: float, sha: str = "a", private: float | None = None) -> Graded:
    grade = Grade(public_score=score, public=None, private_score=private, private=None)
    return Graded(grade=grade, sha256=sha * 64)


def submitting(submission: Graded | Rejected | None, cell: Cell | None = None) -> Step:
    outcome = CellExecuted(cell=cell or Cell(), submission=submission)
    return replace(cell_step(1), outcome=outcome)


def test_a_step_is_equal_to_itself() -> None:
    for step in every_kind_of_step():
        found = compare_step(step, step)

        assert found.reproduced, found
        assert found.outputs in ("equal", "not compared")


@pytest.mark.parametrize(
    ("recorded", "replayed", "where"),
    [
        (graded(1.0), graded(1.0), ""),
        (graded(1.0), graded(1.0 + 1e-12), ""),
        (graded(1.0), graded(1.0 + 1e-6), "public score of the same bytes"),
        (graded(1.0), graded(1.0 + 1e-6, "b"), ""),
        (graded(1.0), graded(1.1, "b"), "public score"),
        (graded(1.0, "a", 2.0), graded(1.0, "b", 3.0), "private score"),
        (graded(1.0), None, "submission"),
        (None, graded(1.0), "submission"),
        (graded(1.0), Rejected(reason="no column"), "submission"),
        (Rejected(reason="no column"), Rejected(reason="no column"), ""),
        (Rejected(reason="no column"), Rejected(reason="no row"), "submission"),
        (graded(float("nan")), graded(float("nan")), "public score of the same bytes"),
    ],
)
def test_submissions_are_compared_by_bytes_and_scores(
    recorded: Graded | Rejected | None, replayed: Graded | Rejected | None, where: str
) -> None:
    found = compare_step(submitting(recorded), submitting(replayed), tolerance=1e-3)

    assert [each.where for each in found.differences] == ([where] if where else [])
    assert found.reproduced is (not where)
    assert found.submission is not None
    assert found.submission.reproduced is (not where)


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "near"),
    [
        (1.0, 1.0009, 1e-3, True),
        (1.0, 1.002, 1e-3, False),
        (-1.0, -1.0009, 1e-3, True),
        (0.0, 1e-12, 1e-3, False),
        (0.0, 0.0, 0.0, True),
        (1.0, 1.0 + 1e-12, EXACT, True),
        (1.0, -1.0, 1e-3, False),
        (float("inf"), float("inf"), 0.0, True),
    ],
)
def test_the_tolerance_is_relative(one: float, other: float, tolerance: float, near: bool) -> None:
    assert compare_scores(one, other, tolerance).reproduced is near
    assert compare_scores(other, one, tolerance).reproduced is near


def test_how_a_cell_ended_is_compared_and_not_what_it_had_printed() -> None:
    killed = replace(CELL, broke="killed", recovery=Recovery(cause="killed", how="standby"))
    other = replace(killed, outputs=())

    assert compare_step(submitting(None, killed), submitting(None, other)).outputs == "not compared"
    assert not compare_step(submitting(None, killed), submitting(None, CELL)).reproduced
    late = replace(CELL, timed_out=True)
    assert not compare_step(submitting(None, late), submitting(None, CELL)).reproduced
    lost = replace(killed, state_lost="the disk was full")
    assert not compare_step(submitting(None, lost), submitting(None, killed)).reproduced


def test_texts_of_the_environment_are_masked_too() -> None:
    def told(text: str) -> Step:
        action = RequestInfo(info_type="metadata")
        return Step(number=1, action=action, outcome=InfoShown(text=text))

    found = compare_step(told("x\n[0.12 s]"), told("x\n[0.57 s]"))

    assert (found.outputs, found.masks) == ("masked", {"duration": 1})
    assert not compare_step(told("x"), told("y")).reproduced


def test_the_submission_that_counts_is_known_without_an_ending() -> None:
    steps = [
        replace(submitting(graded(score, sha)), number=number)
        for number, (score, sha) in enumerate([(3.0, "a"), (1.0, "b"), (2.0, "c")], 1)
    ]
    best = Trajectory(header=HEADER, steps=steps)
    last = replace(best, header=replace(HEADER, counts="last"))
    none = Trajectory(header=HEADER, steps=[cell_step(1)])

    assert [final_step(each) for each in (best, last, none)] == [2, 3, None]
    assert compare_finals(none, none, 0.0) is None
    missing = compare_finals(best, none, 0.0)
    assert missing is not None
    assert not missing.reproduced


def test_the_private_score_of_the_ending_is_compared() -> None:
    def ended(private: float) -> Trajectory:
        grade = graded(1.0, private=private).grade
        ending = Ending(status="finished", reason="", spent=spent(1), chosen_step=1, grade=grade)
        return Trajectory(header=HEADER, steps=[submitting(graded(1.0))], ending=ending)

    found = compare_finals(ended(2.0), ended(2.5), 0.001)

    assert found is not None
    assert found.same_bytes
    assert found.public is not None
    assert found.public.reproduced
    assert found.private is not None
    assert not found.private.reproduced
