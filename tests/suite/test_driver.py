"""Check whole runs of a suite on this machine: results, failures, resuming, grading again."""

import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from kernel_env.errors import UnknownName, UsageError
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import LABEL, owner
from kernel_env.suite import policy
from kernel_env.suite.driver import StopRequests, read_status, request_stop, retry, run_suite
from kernel_env.suite.lock import Lock
from kernel_env.suite.plan import Job, Shard, Suite, parse_shard, plan_suite
from kernel_env.suite.playing import Played
from kernel_env.suite.records import read_suite
from kernel_env.suite.status import Status
from support.suite_engine import Recorder, TableEngine, played
from support.suites import TINY, failing_agent, lines_of, write_suite


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries wait for an instant only."""
    monkeypatch.setattr(policy, "FIRST_DELAY_S", 0.001)


def play(path: Path) -> tuple[Suite, Status, list[str]]:
    suite, monitor = plan_suite(path, path.parent / "suites"), Recorder()
    return suite, run_suite(suite, monitor), monitor.messages


def pretend(
    path: Path, shard: str = "1/1", answer: Callable[[Job, int], Played] = lambda *_: played()
) -> tuple[Suite, Status]:
    """Play a suite with an engine that plays nothing."""
    suite, engine = plan_suite(path, path.parent / "suites"), TableEngine(answer)
    return suite, run_suite(
        suite, Recorder(), shard=parse_shard(shard), open_engine=lambda _: nullcontext(engine)
    )


def test_a_suite_is_played_and_its_results_can_be_read(tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "line"}, {"name": "half"}, anchor="half")

    suite, status, messages = play(path)
    _, again, _ = play(path)

    found = read_suite(suite.folder)
    assert status.states == again.states == {"done": 2}
    assert again.fates == {"reuse": 2, "orphan": 0}
    assert messages == []
    assert [found.label_of(result) for result in found.results] == ["line", "half"]
    assert [x.agent for x in found.results] == ["suite_agents.py:Line", "suite_agents.py:Half"]
    assert [result.position_private for result in found.results] == [1.0, 0.75]
    assert all(Path(result.notebook).is_file() for result in found.results)
    assert {(r.suite, r.attempt, r.grade_key) for r in found.results} == {
        ("nightly", 1, found.results[0].grade_key)
    }
    assert [result.key for result in found.results] == [job.key for job in suite.jobs]
    assert (found.missing, found.jobs.anchor) == ((), "half")
    assert [line["kind"] for line in lines_of(suite.folder)].count("started") == 2
    assert (suite.folder / "suite.toml").read_text() == path.read_text()
    # A driver that is killed before it has recorded an ending leaves the episode's own.
    *_, last = lines_of(suite.folder)
    (suite.folder / last["record"]["notebook"]).unlink()
    records = suite.folder / "records.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])
    _, adopted, _ = play(path)
    assert adopted.states == {"done": 2}
    assert read_suite(suite.folder).results == found.results
    assert (suite.folder / last["record"]["notebook"]).is_file()
    moved = Path(shutil.move(suite.folder, tmp_path / "elsewhere"))
    assert Path(read_suite(moved).results[0].notebook).is_file()


def test_each_failure_is_recorded_as_what_it_is(tmp_path: Path) -> None:
    agents = [
        failing_agent(tmp_path, "service", "model", 1),
        failing_agent(tmp_path, "broken", "bug", 9),
        failing_agent(tmp_path, "keyless", "setup", 9),
    ]

    suite, status, messages = play(write_suite(tmp_path, *agents, limits={"episodes": 2}))

    found = {job.agent: job for job in status.jobs}
    read = read_suite(suite.folder)
    results = {read.label_of(result): result for result in read.results}
    assert (found["service"].state, found["service"].attempts) == ("done", 2)
    assert (found["broken"].state, results["broken"].status) == ("done", "agent_failed")
    assert (found["keyless"].state, found["keyless"].reason) == (
        "due",
        r"setup: a failure\nof a test",
    )
    assert messages == [r"the agent keyless stops: a failure\nof a test"]
    assert status.reasons == {"setup": 1}
    assert {job.agent: job.reason for job in status.jobs if job.state != "done"} == {
        m.job.agent: m.reason for m in read_suite(suite.folder).missing
    }


def test_a_missing_job_is_played_again_after_retry(tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "line"}, limits={"retries": 0})

    suite, first = pretend(path, answer=lambda *_: played("machine_failed", "no engine"))
    _, second = pretend(path)
    with pytest.raises(UnknownName, match="no missing job named 'zz'"):
        retry(suite, ["zz"])
    chosen = retry(suite, [suite.jobs[0].key[:8]])
    _, third = pretend(path)

    assert [status.states for status in (first, second)] == [{"missing": 1}] * 2
    assert [job.key for job in chosen] == [suite.jobs[0].key]
    assert third.states == {"done": 1}
    assert retry(suite, []) == []


def test_a_task_that_cannot_be_prepared_is_missing_for_all(
    task_folder: Path, tmp_path: Path
) -> None:
    prepare_py = task_folder / "prepare.py"
    good = prepare_py.read_text()
    prepare_py.write_text("def prepare(raw, public, private): raise OSError('no')\n")
    path = write_suite(tmp_path, {"name": "line"}, {"name": "half"}, tasks=[str(task_folder)])

    suite, status, messages = play(path)
    play(path)
    prepare_py.write_text(good)

    assert status.states == {"due": 2}
    assert status.reasons == {"task": 2}
    assert "stops for all agents" in messages[-1]
    assert [line["kind"] for line in lines_of(suite.folder)] == ["fault"] * 2
    assert plan_suite(path, tmp_path).jobs[0].key != suite.jobs[0].key


def test_a_new_grader_grades_again_without_an_episode(task_folder: Path, tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "half"}, tasks=[str(task_folder)])
    suite, _, _ = play(path)
    before = read_suite(suite.folder).results[0]
    board, toml = task_folder / "leaderboard.csv", task_folder / "task.toml"
    board.write_text(board.read_text().replace("1.5,1.5", "1.2,1.2"))
    toml.write_text(toml.read_text().replace('name = "rmse"', 'name = "mae"'))

    suite = plan_suite(path, path.parent / "suites")
    planned = read_status(suite)
    _, status, _ = play(path)
    play(path)

    after = read_suite(suite.folder).results[0]
    assert planned.fates == {"regrade": 1, "orphan": 0}
    assert status.fates == {"reuse": 1, "orphan": 0}
    assert [line["kind"] for line in lines_of(suite.folder)] == ["started", "finished", "regraded"]
    assert before.private_score == pytest.approx(1.3147, abs=1e-4)
    assert after.private_score == pytest.approx(0.99216, abs=1e-4)
    assert (before.metric, after.metric) == (
        "Root mean squared error",
        "Mean absolute error",
    )
    assert after.grade_key != before.grade_key
    assert (after.steps, after.episode, after.agent) == (before.steps, before.episode, before.agent)


def test_changed_settings_are_named_and_the_former_results_kept(tmp_path: Path) -> None:
    agent = {"name": "line"}
    suite, _ = pretend(write_suite(tmp_path, agent))

    path = write_suite(tmp_path, agent, budget={"steps": 9}, seeds=2)
    status = read_status(plan_suite(path, tmp_path / "suites"))

    assert [(job.fate, job.changed) for job in status.jobs] == [
        ("rerun", ("budget.steps",)),
        ("new", ()),
    ]
    assert [orphan.key for orphan in status.orphans] == [suite.jobs[0].key]
    assert status.seconds_left
    assert status.unknown == 0


def test_shards_write_records_of_their_own_that_are_merged(tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "line"}, seeds=2)

    _, first = pretend(path, "1/2")
    suite, second = pretend(path, "2/2")
    _, whole = pretend(path)

    names = sorted(file.name for file in suite.folder.glob("records*.jsonl"))
    assert (first.states, second.states) == ({"done": 1, "due": 1}, {"done": 2})
    assert whole.fates == {"reuse": 2, "orphan": 0}
    assert names == ["records-1of2.jsonl", "records-2of2.jsonl", "records.jsonl"]
    assert (suite.folder / "records.jsonl").read_text() == ""
    assert len(read_suite(suite.folder).results) == 2


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not the folder of a suite: it has no jobs\.json"):
        read_suite(tmp_path)
    (tmp_path / "jobs.json").write_text('{"v": 2}')
    with pytest.raises(UsageError, match="has version 2; this kernel_env reads up to 1"):
        read_suite(tmp_path)
    (tmp_path / "jobs.json").write_text('{"v": 1}')
    with pytest.raises(UsageError, match="is not the list of a suite's jobs"):
        read_suite(tmp_path)


def test_only_requests_after_the_start_stop_a_suite(tmp_path: Path) -> None:
    (tmp_path / "suite.stop").write_text("now 2026\n")
    requests = StopRequests(tmp_path)

    assert requests.read() == ""
    assert request_stop(tmp_path, "drain") == 0
    with Lock(tmp_path, Shard()):
        assert request_stop(tmp_path, "drain") == 1
        assert requests.read() == "drain"
        request_stop(tmp_path, "now")
        assert requests.read() == "now"
    (tmp_path / "suite.stop").write_text("never")
    assert requests.read() == ""


def test_another_driver_is_refused(tmp_path: Path) -> None:
    suite = plan_suite(write_suite(tmp_path, {"name": "line"}), tmp_path)

    with Lock(suite.folder, Shard()), pytest.raises(UsageError, match="is being played by process"):
        run_suite(suite, Recorder())
    assert replace(suite).jobs[0].plan.config.load_task().folder == TINY


STARTS = """
import time
from pathlib import Path

class Starts:
    model = ""
    def __init__(self, options):
        self.file = Path(__file__).with_name(f"began-{options.seed}")
    async def play(self, episode):
        self.file.write_text(str(time.time_ns()))
"""
SEEDS = 3


@pytest.mark.docker
@pytest.mark.parametrize("starts", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_so_many_containers_start_at_the_same_time(tmp_path: Path, starts: int) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    agent = {"name": "starts", "agent": "starts.py:Starts"}
    limits = {"episodes": SEEDS, "starts": starts, "margin_gb": 0}
    client, since = engine.connect(), time.time()

    play(write_suite(tmp_path, agent, seeds=SEEDS, sandbox="docker", limits=limits))

    own = {"event": "create", "label": f"{LABEL}.owner={owner()}"}
    events = client.events(since=since, until=time.time(), filters=own, decode=True)
    created = [event["timeNano"] for event in events]
    client.close()
    began = [int((tmp_path / f"began-{seed}").read_text()) for seed in range(SEEDS)]
    changes = sorted([(at, 1) for at in created] + [(at, -1) for at in began])
    assert len(created) == SEEDS
    assert max(accumulate(change for _, change in changes)) == starts
