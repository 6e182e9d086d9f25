"""Check suites on a Ray cluster of two nodes on this machine."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import strays
from kernel_env.suite.driver import request_stop
from kernel_env.suite.plan import plan_suite
from kernel_env.suite.ray_engine import play_there, unpack
from kernel_env.suite.records import read_suite, write_jobs
from support.ray_cluster import RayCluster, ray_cluster
from support.suites import (
    comparable,
    kill,
    lines_of,
    slow_agent,
    start_suite,
    wait_for_step,
    write_suite,
)

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not find_spec("ray"), reason="needs Ray: pip install 'kernel-env[ray]'"),
]
WHERE = """
import ray
from pathlib import Path
from kernel_env.episode.actions import RequestInfo

class Where:
    model = ""
    def __init__(self, options):
        self.file = Path(__file__).with_name(f"node-{options.seed}")
    async def play(self, episode):
        await episode.act(RequestInfo(info_type="name"))
        self.file.write_text(ray.get_runtime_context().get_node_id())
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head that plays nothing, and a node without places for episodes."""
    with ray_cluster() as found:
        found.add(0)
        yield found


@pytest.fixture
def node(cluster: RayCluster) -> Iterator[str]:
    """A node that can play two episodes."""
    added = cluster.add(2)
    yield added
    with suppress(AssertionError):  # a test has killed it
        cluster.remove(added)


@pytest.fixture(autouse=True)
def no_kernel_is_left() -> Iterator[None]:
    """Check that no program of a sandbox has lost its init process and runs on."""
    yield
    assert not orphans()


def play(path: Path) -> Path:
    """Play a suite on the cluster to its end; return its folder."""
    process = start_suite(path, "--engine", "ray")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return path.parent / "suites" / "nightly"


def kinds(folder: Path) -> list[str]:
    return [line["kind"] for line in lines_of(folder)]


def test_only_nodes_with_places_play_and_the_records_are_those_of_one_machine(
    cluster: RayCluster, node: str, tmp_path: Path
) -> None:
    (tmp_path / "where.py").write_text(WHERE)
    where = {"name": "where", "agent": "where.py:Where"}
    path = write_suite(tmp_path, where, {"name": "half"}, seeds=3)
    (tmp_path / "local").mkdir()
    local = write_suite(tmp_path / "local", {"name": "half"}, seeds=1)

    folder = play(path)
    start_suite(local).communicate(timeout=300)

    nodes = {(tmp_path / f"node-{seed}").read_text() for seed in range(3)}
    assert nodes == {node}
    assert sorted(kinds(folder)) == ["finished"] * 6 + ["started"] * 6
    (alone,) = read_suite(tmp_path / "local" / "suites" / "nightly").results
    (same,) = [x for x in read_suite(folder).results if x.key == alone.key]
    assert comparable(same.json()) == comparable(alone.json())
    assert Path(same.notebook).is_file()
    assert list((folder / "players").iterdir()) == []


def test_an_episode_of_a_node_that_was_killed_is_played_on_another(
    cluster: RayCluster, node: str, tmp_path: Path
) -> None:
    path = write_suite(tmp_path, slow_agent(tmp_path, 15))
    folder = tmp_path / "suites" / "nightly"
    process = start_suite(path, "--engine", "ray")
    wait_for_step(folder, process)

    cluster.kill(node)
    other = cluster.add(1)
    _, errors = process.communicate(timeout=300)

    assert process.returncode == 0, errors
    assert kinds(folder) == ["started", "fault", "started", "finished"]
    fault = next(line for line in lines_of(folder) if line["kind"] == "fault")
    assert (fault["failure"], fault["status"]) == ("machine", "machine_failed")
    assert fault["record"]["steps"] == 1
    assert not processes_below(folder)
    cluster.remove(other)


def test_a_driver_that_was_killed_is_resumed_and_a_second_one_refused(
    cluster: RayCluster, node: str, tmp_path: Path
) -> None:
    path = write_suite(tmp_path, slow_agent(tmp_path, 6), {"name": "half"}, seeds=2)
    folder = tmp_path / "suites" / "nightly"
    first = start_suite(path, "--engine", "ray")
    wait_for_step(folder, first)
    second = start_suite(path, "--engine", "ray")
    _, refused = second.communicate(timeout=60)

    kill(first)
    play(path)

    assert second.returncode == 2
    assert "is being played by process" in refused
    found = kinds(folder)
    assert found.count("finished") == 4
    assert found.count("started") == 4 + found.count("fault")
    assert {x["failure"] for x in lines_of(folder) if x["kind"] == "fault"} <= {"operator"}
    assert not processes_below(folder)


def test_a_request_to_stop_ends_the_episodes_on_the_nodes(
    cluster: RayCluster, node: str, tmp_path: Path
) -> None:
    path = write_suite(tmp_path, slow_agent(tmp_path, 60))
    folder = tmp_path / "suites" / "nightly"
    process = start_suite(path, "--engine", "ray")
    wait_for_step(folder, process)

    request_stop(folder, "now")
    process.communicate(timeout=60)

    (fault,) = [line for line in lines_of(folder) if line["kind"] == "fault"]
    assert (fault["failure"], fault["status"]) == ("operator", "interrupted")
    assert fault["record"]["steps"] == 1
    assert list(folder.glob("episodes/*/*/*/record.json")), "the episode has ended by itself"
    assert not processes_below(folder)


def test_a_suite_is_resumed_on_another_cluster_after_the_head_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")  # 60 by default
    path = write_suite(tmp_path, slow_agent(tmp_path, 30), {"name": "half"})
    folder = tmp_path / "suites" / "nightly"
    with ray_cluster() as first:
        first.add(2)
        process = start_suite(path, "--engine", "ray")
        wait_for_step(folder, process)
        first.kill("head")
        _, errors = process.communicate(timeout=300)
    with ray_cluster() as second:
        second.add(2)
        play(path)

    assert process.returncode == 1, "Ray ends the driver"
    assert "Failed to connect to GCS" in errors
    found = kinds(folder)
    assert found.count("finished") == 2
    assert found.count("started") == 2 + found.count("fault")
    assert found.count("fault") == 1
    assert not processes_below(folder)


@pytest.mark.docker
def test_the_nodes_play_in_containers(cluster: RayCluster, node: str, tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "half"}, seeds=2, sandbox="docker")
    before = containers_left()

    folder = play(path)

    assert sorted(kinds(folder)) == ["finished"] * 2 + ["started"] * 2
    assert {x.sandbox for x in read_suite(folder).results} == {"docker"}
    assert containers_left() <= before


def test_without_a_place_or_a_cluster_there_is_one_line(
    cluster: RayCluster, tmp_path: Path
) -> None:
    path = write_suite(tmp_path, {"name": "half"})
    no_place = start_suite(path, "--engine", "ray").communicate(timeout=120)[1]
    os.environ["RAY_ADDRESS"] = "127.0.0.1:1"
    try:
        no_cluster = start_suite(path, "--engine", "ray").communicate(timeout=120)[1]
    finally:
        os.environ["RAY_ADDRESS"] = cluster.address

    assert no_place.splitlines()[-1].startswith(
        "error: no node of the Ray cluster has the resource engine; start nodes with"
    )
    assert no_cluster.splitlines()[-1].startswith("error: no Ray cluster at 127.0.0.1:1 (")


def test_a_node_that_does_not_see_the_suites_folder_sends_the_episode_back(tmp_path: Path) -> None:
    suite = plan_suite(write_suite(tmp_path, {"name": "half"}), tmp_path)
    suite.folder.mkdir()
    write_jobs(suite.folder, "nightly", "", [])
    folder = suite.folder / "episodes" / "x"

    sent = play_there(suite.jobs[0].plan, str(folder), str(suite.folder), "another digest")
    assert sent.archive
    assert not folder.exists()
    unpack(sent.archive, folder)

    assert sent.played.status == "finished"
    assert sorted(path.name for path in folder.glob("tiny/*/*")) == [
        *("journal.jsonl", "record.json", "submissions", "trajectory.ipynb"),
    ]


def processes_below(folder: Path) -> list[str]:
    """Return the processes whose command line names a suite's folder, after a while."""
    for _ in range(100):
        found = subprocess.run(
            ["pgrep", "-af", str(folder)], capture_output=True, text=True, check=False
        ).stdout.splitlines()
        if not found:
            return []
        time.sleep(0.1)
    return found


def containers_left() -> set[str]:
    """Return the containers of processes that have ended."""
    client = engine.connect()
    found = {str(container.id) for container in strays(client)}
    client.close()
    return found


def orphans() -> list[str]:
    """Return the programs of local sandboxes whose parent has ended, after a while."""
    for _ in range(100):
        found = subprocess.run(
            ["pgrep", "-P", "1", "-af", "kernel_env/kernel/guest/boot.py"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        if not found:
            return []
        time.sleep(0.1)
    return found
