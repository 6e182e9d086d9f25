"""Check what is said of time, money and the differences that can be found."""

from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env.ratings.planning import Spread, smallest_difference
from kernel_env.suite.history import fold
from kernel_env.suite.log import Line
from kernel_env.suite.plan import Job, Suite, plan_suite
from kernel_env.suite.status import Status, status_of
from support.suites import finished, started, write_suite


def suite_of(folder: Path, tasks: list[str], seeds: int) -> Suite:
    agents = [{"name": n, "agent": "baseline", "context_tokens": i} for i, n in enumerate("ab", 1)]
    return plan_suite(write_suite(folder, *agents, tasks=tasks, seeds=seeds), folder)


def result(job: Job, position: float | None, seconds: int = 0) -> list[Line]:
    ended = f"2026-01-01T00:00:{seconds:02}+00:00"
    record = {"usage": {"money": 0.5}, "position_private": position, "ended": ended}
    begin = replace(started(1, job.key), agent=job.agent, task=job.task, seed=job.seed)
    at = "2026-02-01T00:00:00+00:00"  # it was adopted later
    return [begin, replace(finished(1, job.key), record=record, at=at)]


def status(suite: Suite, lines: list[Line], at_once: int = 2) -> Status:
    return status_of(suite, fold(lines), {}, drivers=0, at_once=at_once)


def test_the_time_left_comes_from_the_same_agents_medians(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ["adult-income", "spam-email"], 2)
    known = [job for job in suite.jobs if job.agent == "a" and job.seed == 0]
    other = next(job for job in suite.jobs if job.agent == "b")

    first = status(suite, result(known[0], 0.5, 10) + result(known[1], 0.5, 30))
    both = status(suite, result(known[0], 0.5, 10) + result(other, 0.5, 8))

    assert (first.seconds_left, first.unknown) == ((10 + 30) / 2, 4)
    # a: its median on the task, and on the other task that of the agent; b: three of 8 s.
    assert (both.seconds_left, both.unknown) == ((10 + 10 + 10 + 3 * 8) / 2, 0)
    assert first.money == 1.0
    assert status(suite, []).seconds_left is None


def test_the_smallest_difference_comes_from_the_results_until_now(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ["adult-income", "spam-email"], 2)
    values = {("a", "adult-income"): (0.5, 0.7), ("a", "spam-email"): (0.4, 0.4)}
    values |= {("b", "adult-income"): (0.1, 0.3), ("b", "spam-email"): (0.3, None)}
    lines = [
        line for job in suite.jobs for line in result(job, values[job.agent, job.task][job.seed])
    ]

    found = status(suite, lines).smallest_difference

    # The failed submission is the floor, 0. Variances of seeds: 0.02, 0, 0.02, 0.045; the means
    # differ by 0.4 and 0.25.
    noise = (0.02 + 0 + 0.02 + 0.045) / 4
    observed = (0.4 - 0.25) ** 2 / 2
    spread = Spread(tasks=max(0.0, observed - noise) ** 0.5, seeds=noise**0.5)
    assert found == pytest.approx(smallest_difference(2, 2, spread))


def test_without_results_of_two_agents_on_two_tasks_no_difference_is_named(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ["adult-income", "spam-email"], 1)

    few = status(suite, result(suite.jobs[0], 0.5))
    without_board = status(suite, [x for job in suite.jobs for x in result(job, None)])

    assert few.smallest_difference is None
    assert without_board.smallest_difference is None
