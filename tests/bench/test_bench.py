"""The `bench` command prints complete rows; the tests never check a duration."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import kernel_env.bench
from support.episodes import containers_of

FIELDS = {
    *("measure", "unit", "n", "median", "p99"),
    *("peer", "peer_n", "peer_median", "peer_p99", "ratio", "goal", "met"),
}


def bench(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernel_env.cli", "bench", *argv],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_measures_are_listed() -> None:
    listed = bench("--list")
    as_json = rows_of(bench("--list", "--json"))

    assert [row["name"] for row in as_json] == list(kernel_env.bench.MEASURES)
    assert all(str(row["about"]).endswith(".") for row in as_json)
    assert all(f"{name} " in listed.stdout for name in kernel_env.bench.MEASURES)


def test_an_unknown_measure_is_a_one_line_error() -> None:
    done = bench("starts", "weight")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no measure named 'weight'; known: branches, ")


@pytest.mark.docker
@pytest.mark.parametrize(
    ("measure", "count"),
    [
        ("recovery", 3),
        pytest.param("floods", 9, marks=pytest.mark.slow),
        pytest.param("group", 1, marks=pytest.mark.slow),
        pytest.param("tree", 4, marks=pytest.mark.slow),
    ],
)
def test_each_row_has_a_peer_taken_in_the_same_run(measure: str, count: int) -> None:
    rows = rows_of(bench(measure, "--quick", "--scale", "0.01", "--json"))

    assert [set(row) for row in rows] == [FIELDS] * count
    for row in rows:
        assert row["n"], row
        assert row["peer"], row
        assert row["peer_n"], row
        assert row["goal"] is None or isinstance(row["met"], bool), row


@pytest.mark.slow
def test_the_local_sandbox_skips_container_measures_and_reports_them() -> None:
    done = bench("starts", "floods", "--quick", "--scale", "0.01", "--sandbox", "local", "--json")

    rows = rows_of(done)
    assert [row["measure"] for row in rows][:1] == ["local sandbox created → plain kernel"]
    assert not any("container" in str(row["measure"]) for row in rows)
    assert (
        "not measured: memory of a local sandbox: it does not count its own memory" in done.stderr
    )


@pytest.mark.docker
def test_an_interrupt_leaves_nothing_behind() -> None:  # conftest.py checks for leftovers
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel_env.cli", "bench", "crowd", "--quick"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(3)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode != 0
    assert "Traceback" not in errors
    assert containers_of(process) == []
