"""Check that a driver can be killed at any moment: nothing is lost, and nothing is played twice."""

import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kernel_env.suite.driver import request_stop
from kernel_env.suite.records import read_suite
from support.suites import (
    comparable,
    kill,
    lines_of,
    slow_agent,
    start_suite,
    wait_for,
    wait_for_step,
    write_suite,
)


def slow_suite(folder: Path, seconds: float, **options: Any) -> Path:
    """Write a suite with an agent that waits in the middle of its episodes."""
    return write_suite(folder, slow_agent(folder, seconds), {"name": "half"}, **options)


def finish(path: Path) -> Path:
    """Play the rest of a suite and return its folder."""
    process = start_suite(path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return path.parent / "suites" / "nightly"


def check_nothing_twice(folder: Path) -> None:
    """Check that each job has one result, and each attempt one beginning and one ending."""
    lines = [line for line in lines_of(folder) if line["kind"] != "retry"]
    beginnings = Counter((x["key"], x["attempt"]) for x in lines if x["kind"] == "started")
    endings = Counter((x["key"], x["attempt"]) for x in lines if x["kind"] in ("finished", "fault"))
    results = Counter(line["key"] for line in lines if line["kind"] == "finished")
    assert set(beginnings.values()) == set(endings.values()) == set(results.values()) == {1}
    assert set(beginnings) == set(endings)
    faults = [line for line in lines if line["kind"] == "fault"]
    assert {line["failure"] for line in faults} <= {"operator"}


def test_a_driver_that_was_killed_in_an_episode_is_resumed(tmp_path: Path) -> None:
    path = slow_suite(tmp_path, 60)
    folder = path.parent / "suites" / "nightly"
    process = start_suite(path)
    wait_for_step(folder, process)
    kill(process)
    left = [name for name in os.listdir(tempfile.gettempdir()) if f"-{process.pid}-" in name]

    second = start_suite(path)
    wait_for(folder, second, started=2, fault=1)
    stopped = request_stop(folder, "now")
    second.communicate(timeout=60)

    lines = list(lines_of(folder))
    faults = [line for line in lines if line["kind"] == "fault"]
    assert left, "the killed driver had temporary folders"
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name in left]
    assert stopped == 1
    assert second.returncode == 1
    assert [(line["failure"], line["status"], line["attempt"]) for line in faults] == [
        ("operator", "interrupted", 1),
        ("operator", "interrupted", 2),
    ]
    assert [line["reason"] for line in faults] == [
        "the suite's driver was killed",
        "the operator stopped the suite",
    ]
    assert faults[0]["record"]["steps"] == 1


@pytest.mark.slow
def test_a_suite_that_is_killed_at_random_has_the_records_of_an_unbroken_one(
    tmp_path: Path,
) -> None:
    generator = random.Random(0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = slow_suite(tmp_path / "a", 0.5, seeds=3, limits={"episodes": 2, "margin_gb": 0})
    broken = slow_suite(tmp_path / "b", 0.5, seeds=3, limits={"episodes": 2, "margin_gb": 0})
    unbroken = read_suite(finish(whole))

    for _ in range(6):
        process = start_suite(broken)
        deadline = time.monotonic() + generator.uniform(0.5, 6)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.poll() is None:
            kill(process)
        process.communicate()
    folder = finish(broken)

    check_nothing_twice(folder)
    found = read_suite(folder)
    assert [comparable(x.json()) for x in found.results] == [
        comparable(x.json()) for x in unbroken.results
    ]
    assert found.missing == ()
    assert not [
        name for name in os.listdir(tempfile.gettempdir()) if name.startswith("kernel-env-")
    ]
