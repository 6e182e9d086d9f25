"""Check that a suite survives the death of the Docker engine: nothing is lost or played twice."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.suite.driver import request_stop
from kernel_env.suite.records import read_suite
from support.docker_engine import OwnEngine, own_engine
from support.suites import lines_of, slow_agent, start_suite, wait_for, wait_for_step, write_suite

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def module_engine(docker_images: None) -> Iterator[OwnEngine]:
    """An engine of these tests alone."""
    with own_engine("base") as found:
        yield found


@pytest.fixture
def engine(module_engine: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """The engine, which all programs of a test use; it has no container after the test."""
    monkeypatch.setenv("DOCKER_HOST", module_engine.address)
    yield module_engine
    assert not containers_left(module_engine)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a suite whose episodes wait for seconds."""
    limits = {"episodes": 2, "starts": 2, "margin_gb": 0}
    agents = [slow_agent(tmp_path, 5), {"name": "half"}]
    return write_suite(tmp_path, *agents, seeds=2, sandbox="docker", limits=limits)


def test_a_suite_is_played_to_its_end_when_its_engine_is_started_again(
    engine: OwnEngine, path: Path
) -> None:
    folder = path.parent / "suites" / "nightly"
    process = start_suite(path)
    wait_for_step(folder, process)

    engine.kill()
    wait_for(folder, process, fault=1)
    engine.start()
    _, messages = process.communicate(timeout=300)

    assert process.returncode == 0, messages
    faults = [line for line in lines_of(folder) if line["kind"] == "fault"]
    assert {(line["failure"], line["status"]) for line in faults} == {("machine", "machine_failed")}
    failed = [line for line in messages.splitlines() if "machine_failed" in line]
    assert len(failed) == len(faults)
    assert all(f"(no Docker engine answers at {engine.address} (" in line for line in failed)
    check_finished_once(folder)


def test_a_suite_that_was_stopped_without_its_engine_is_resumed_with_it(
    engine: OwnEngine, path: Path
) -> None:
    folder = path.parent / "suites" / "nightly"
    first = start_suite(path)
    wait_for_step(folder, first)

    engine.kill()
    request_stop(folder, "now")
    _, stopped = first.communicate(timeout=120)
    without = start_suite(path)
    _, refused = without.communicate(timeout=120)
    engine.start()
    again = start_suite(path)
    _, messages = again.communicate(timeout=300)

    assert "Traceback" not in stopped
    assert without.returncode == 1
    (error,) = [line for line in refused.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: no Docker engine answers at {engine.address} (")
    assert error.endswith("; start one, or choose the sandbox `local`, which isolates nothing")
    assert again.returncode == 0, messages
    check_finished_once(folder)


def check_finished_once(folder: Path) -> None:
    """Check that each job has one result without an error, and that nothing is left behind."""
    found = read_suite(folder)
    results = Counter(line["key"] for line in lines_of(folder) if line["kind"] == "finished")
    assert sorted(results) == sorted(job.key for job in found.jobs.jobs)
    assert set(results.values()) == {1}
    assert [(result.status, result.error) for result in found.results] == [("finished", "")] * 4
    assert found.missing == ()
    assert list((folder / "players").iterdir()) == []
    assert not list(Path(tempfile.gettempdir()).glob("kernel-env-*"))


def containers_left(engine: OwnEngine) -> list[str]:
    """Return the names of the containers that the engine still has, after a while."""
    client = engine.client()
    try:
        for _ in range(100):
            found = [str(each.name) for each in client.containers.list(all=True)]
            if not found:
                return []
            time.sleep(0.1)
        return found
    finally:
        client.close()
