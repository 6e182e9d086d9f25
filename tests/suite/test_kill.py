"""Check that a driver can be killed at any moment: nothing is lost, and nothing is played twice."""

import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kernel_env.suite.driver import request_stop
from kernel_env.suite.records import read_suite
from support.cli import run_cli
from support.files import replace_text
from support.suites import (
    TINY,
    UNEQUAL,
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


REFERENCE = [{"name": name, "agent": name} for name in ("nop", "sample", "constant")]


def reports(folder: Path) -> dict[str, str]:
    """Return the report of a suite in all its forms. Pages of episodes are not in it."""
    out = folder.parent / "report"
    page = run_cli("report", folder, "--out", out, "--pages", 0)
    assert page.returncode == 0, page.stderr
    forms = ("csv", "json", "markdown", "paper")
    tables = {each: run_cli("report", folder, "--format", each).stdout for each in forms}
    return {"html": (out / "index.html").read_text(), **tables}


def as_unbroken(broken: Path, whole: Path, out: Path) -> Path:
    """Copy a suite without its interrupted attempts, with names and times of an unbroken one.

    The interrupted attempts are no secret: a report tells of them, and of what they cost.
    """
    out.mkdir(parents=True)
    shutil.copy(broken / "jobs.json", out)
    like, last = (
        {line["key"]: line for line in lines_of(folder) if line["kind"] == "finished"}
        for folder in (whole, broken)
    )
    with (out / "records.jsonl").open("w") as file:
        for line in lines_of(broken):
            if line["kind"] == "fault" or line["attempt"] != last[line["key"]]["attempt"]:
                continue
            if record := line.get("record"):
                other = like[line["key"]]["record"]
                source, target = (Path(each["notebook"]).parent for each in (record, other))
                shutil.copytree(broken / source, out / target)
                times = [each[1] for each in other["best_by_step"]]
                line["record"] = {
                    **record,
                    **{name: other[name] for name in UNEQUAL},
                    "best_by_step": [
                        [step, time_, *rest]
                        for (step, _, *rest), time_ in zip(
                            record["best_by_step"], times, strict=True
                        )
                    ],
                }
            file.write(json.dumps({**line, "attempt": 1}) + "\n")
    return out


@pytest.mark.slow
def test_a_suite_that_is_killed_at_random_has_records_and_report_of_an_unbroken_one(
    tmp_path: Path,
) -> None:
    generator = random.Random(0)
    other_task = Path(shutil.copytree(TINY, tmp_path / "other"))
    replace_text(other_task / "task.toml", 'id = "tiny"', 'id = "other"')
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        agents = [*REFERENCE, slow_agent(tmp_path / name, 0.5)]
        limits = {"episodes": 2, "margin_gb": 0}
        tasks = [str(TINY), str(other_task)]
        paths.append(write_suite(tmp_path / name, *agents, seeds=2, tasks=tasks, limits=limits))
    whole, broken = paths
    unbroken_folder = finish(whole)
    unbroken = read_suite(unbroken_folder)

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
    assert len(found.attempts) > len(found.results), "no episode was interrupted"
    copy = as_unbroken(folder, unbroken_folder, tmp_path / "c" / "suites" / "nightly")
    expected = reports(unbroken_folder)
    for form, content in reports(copy).items():
        assert content == expected[form], form
    assert "interrupted" in reports(folder)["html"]
    assert not [
        name for name in os.listdir(tempfile.gettempdir()) if name.startswith("kernel-env-")
    ]
