"""Check what becomes of a job after each kind of ending."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.episode.endings import CLASSES
from kernel_env.suite.history import History, fold
from kernel_env.suite.log import Line
from kernel_env.suite.plan import Job, plan_suite
from kernel_env.suite.policy import (
    MAX_ASKED_S,
    MAX_DELAY_S,
    delay_s,
    is_repeatable,
    kind_of_crash,
    retry_at,
    standing_of,
    standings_of,
)
from support.suites import fault, finished, started, write_suite


def attempts(failure: str, count: int, key: str = "k") -> list[Line]:
    pairs = [(started(n, key), fault(n, key, failure)) for n in range(1, count + 1)]
    return [line for pair in pairs for line in pair]


def state(lines: Sequence[Line], retries: int | None = None, grade_key: str = "g") -> str:
    history = fold(lines).get("k")
    return standing_of(history, grade_key, retries).state


@pytest.mark.parametrize(
    ("failure", "count", "retries", "expected"),
    [
        ("model", 5, None, "waiting"),
        ("model", 6, None, "missing"),
        ("machine", 3, None, "waiting"),
        ("machine", 4, None, "missing"),
        ("machine", 1, 0, "missing"),
        ("model", 1, 1, "waiting"),
        ("model", 2, 1, "missing"),
        ("setup", 1, None, "due"),
        ("operator", 9, None, "due"),
        ("us", 1, None, "missing"),
        ("task", 1, None, "missing"),
    ],
)
def test_each_failure_has_its_consequence(
    failure: str, count: int, retries: int | None, expected: str
) -> None:
    assert state(attempts(failure, count), retries) == expected


@pytest.mark.parametrize(("asked_s", "least"), [(None, 0), (120.0, 120), (1e9, MAX_ASKED_S)])
def test_a_service_gets_the_pause_that_it_asks_for(asked_s: float | None, least: float) -> None:
    before = time.time()
    found = retry_at("k", 1, "model", asked_s)

    assert found is not None
    assert before + least <= found <= time.time() + max(least, MAX_DELAY_S)
    assert retry_at("k", 1, "us", asked_s) is None


def test_every_class_of_failure_has_a_consequence() -> None:
    for failure in set(CLASSES.values()) - {"agent"}:
        assert state(attempts(failure, 1)) in ("due", "waiting", "missing")


def test_a_result_is_final() -> None:
    assert state([]) == "due"
    assert state([started()]) == "running"
    assert state([*attempts("machine", 1), started(2), finished(2)]) == "done"


def test_a_task_whose_grader_was_mended_is_played_again() -> None:
    assert state(attempts("task", 1), grade_key="new") == "due"
    assert state(attempts("task", 1), grade_key="") == "missing"


def test_failures_of_the_model_do_not_use_up_the_machines_retries() -> None:
    lines = attempts("model", 5)
    assert state([*lines, started(6), fault(6), started(7), fault(7)]) == "waiting"


def test_a_failed_task_is_missing_for_all_agents(tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "line"}, {"name": "half"}, seeds=2)
    jobs = plan_suite(path).jobs
    done, failed = jobs[0].key, jobs[1].key
    lines = [*attempts("task", 1, failed), started(1, done), finished(1, done)]

    found = standings_of(jobs, fold(lines), {"tiny": "g"}, None)

    assert found[done].state == "done"
    assert [found[job.key].state for job in jobs[1:]] == ["missing"] * 3
    assert found[jobs[3].key].reason.startswith("task: the engine")


@given(st.text(), st.integers(min_value=1, max_value=1000))
def test_delays_grow_up_to_a_limit(key: str, attempt: int) -> None:
    delay = delay_s(key, attempt)

    assert delay == delay_s(key, attempt)
    nominal = min(MAX_DELAY_S, 5 * 2.0 ** min(attempt - 1, 60))
    assert nominal / 2 <= delay <= nominal


def test_crashes_of_one_kind_differ_by_numbers_only() -> None:
    first, second = (fault(n).reason for n in (1, 2))
    assert first == second
    assert kind_of_crash(fault(1)) == kind_of_crash(fault(2))


def repeated(jobs: Sequence[Job], others: int, host: str = "h") -> dict[str, History]:
    lines: list[Line] = []
    for number in (1, 2, 3):
        lines += [started(number, jobs[0].key), fault_on(host, number, jobs[0].key)]
    for job in jobs[1 : others + 1]:
        lines += [started(1, job.key), finished(1, job.key)]
    return fold(lines)


def fault_on(host: str, attempt: int, key: str) -> Line:
    return replace(fault(attempt, key), host=host)


def test_a_job_that_fails_each_time_where_two_others_finish_is_repeatable(tmp_path: Path) -> None:
    agents = [{"name": n, "agent": "baseline", "context_tokens": i} for i, n in enumerate("abc", 1)]
    jobs = plan_suite(write_suite(tmp_path, *agents)).jobs

    assert is_repeatable(jobs[0], jobs, repeated(jobs, 2))
    assert not is_repeatable(jobs[0], jobs, repeated(jobs, 1))
    assert not is_repeatable(jobs[0], jobs, repeated(jobs, 2, host="another"))
    assert not is_repeatable(jobs[1], jobs, repeated(jobs, 2))
