"""Check order, limits and consequences of failures, with an engine that plays nothing."""

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from kernel_env.cli import suite_monitor
from kernel_env.cli.suite_monitor import LiveMonitor
from kernel_env.episode.result import Usage
from kernel_env.errors import SandboxError
from kernel_env.suite import engine as engines
from kernel_env.suite import policy, scheduler
from kernel_env.suite.file import LimitsSection
from kernel_env.suite.history import History
from kernel_env.suite.log import Line, Log
from kernel_env.suite.plan import Job, Shard, Suite, plan_suite
from kernel_env.suite.playing import Played
from kernel_env.suite.scheduler import Scheduler, StopRequest
from support.suite_engine import RESULT, Recorder, TableEngine, played
from support.suites import lines_of, write_suite


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries wait for an instant only."""
    monkeypatch.setattr(policy, "FIRST_DELAY_S", 0.001)


def suite_of(tmp_path: Path, **options: object) -> Suite:
    path = write_suite(tmp_path, {"name": "line"}, {"name": "half"}, seeds=3, **options)
    suite = plan_suite(path, tmp_path)
    suite.folder.mkdir(exist_ok=True)
    return suite


async def play(
    suite: Suite,
    engine: TableEngine,
    *,
    stop: Callable[[], StopRequest] = lambda: "",
    live: LiveMonitor | None = None,
    histories: dict[str, History] | None = None,
) -> tuple[Scheduler, list[str]]:
    monitor = Recorder()
    with Log(suite.folder, Shard()) as log:
        loop = Scheduler(
            suite,
            list(suite.jobs),
            log=log,
            histories={} if histories is None else histories,
            grade_keys={"tiny": "g"},
            engine=engine,
            monitor=live or monitor,
            stop=stop,
            money=suite.file.limits.money,
        )
        await loop.run()
    return loop, monitor.messages


def kinds(suite: Suite) -> list[str]:
    return [line["kind"] for line in lines_of(suite.folder)]


async def test_jobs_are_played_in_order_and_not_more_at_once_than_there_is_room(
    tmp_path: Path,
) -> None:
    suite, engine = suite_of(tmp_path), TableEngine(lambda job, n: played())

    await play(suite, engine)

    assert engine.begun == list(suite.jobs)
    assert engine.most == 2
    assert kinds(suite).count("finished") == 6


async def test_nothing_is_played_twice(tmp_path: Path) -> None:
    suite, engine = suite_of(tmp_path), TableEngine(lambda job, n: played())
    played_by, _ = await play(suite, engine)

    await play(suite, engine, histories=played_by.histories)

    assert len(engine.begun) == 6


@pytest.mark.parametrize(("status", "times"), [("model_failed", 6), ("machine_failed", 4)])
async def test_failures_of_service_and_machine_are_retried_so_often(
    tmp_path: Path, status: str, times: int
) -> None:
    suite = suite_of(tmp_path)
    bad = suite.jobs[0]
    engine = TableEngine(lambda job, n: played(status, "x") if job == bad else played())

    await play(suite, engine)

    assert engine.begun.count(bad) == times
    assert len(engine.begun) == times + 5
    attempts = [x["attempt"] for x in lines_of(suite.folder) if x["key"] == bad.key]
    assert attempts == [n for number in range(1, times + 1) for n in (number, number)]


async def test_after_a_retry_the_result_counts(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = TableEngine(lambda job, n: played("model_failed", "x") if n < 3 else played())

    played_by, _ = await play(suite, engine)

    assert len(engine.begun) == 18
    assert all(played_by.histories[job.key].finished for job in suite.jobs)
    assert played_by.spent == 18 * 0.25


async def test_a_set_up_failure_stops_its_agent_at_once_with_one_line(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = TableEngine(
        lambda job, n: played("setup_failed", "no key") if job.agent == "line" else played(),
        room=1,
    )

    _, messages = await play(suite, engine)

    assert [job.agent for job in engine.begun].count("line") == 1
    assert [job.agent for job in engine.begun].count("half") == 3
    assert messages == ["the agent line stops: no key"]


async def test_a_task_that_failed_stops_for_all_agents(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, tasks=["adult-income", "spam-email"])
    first = suite.jobs[0].task
    engine = TableEngine(
        lambda job, n: played("task_failed", "no metric") if job.task == first else played(),
        room=1,
    )

    _, messages = await play(suite, engine)

    assert [job.task for job in engine.begun].count(first) == 1
    assert len(engine.begun) == 1 + 6
    assert messages == [f"the task {first} stops for all agents: no metric"]


async def test_the_suite_stops_after_three_crashes_of_one_kind(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = TableEngine(lambda job, n: played("crashed", f"ZeroDivisionError in line {n}"), room=1)

    _, messages = await play(suite, engine)

    assert len(engine.begun) == 3
    assert "failed 3 times in the same way: ZeroDivisionError" in messages[0]


async def test_crashes_of_different_kinds_do_not_stop_the_suite(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    reasons = dict(zip([job.key for job in suite.jobs], "abcdef", strict=True))
    engine = TableEngine(lambda job, n: played("crashed", reasons[job.key]))

    await play(suite, engine)

    assert len(engine.begun) == 6


async def test_an_agents_own_failure_is_kept(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = TableEngine(lambda job, n: played("agent_failed", "gave up"))

    played_by, _ = await play(suite, engine)

    assert len(engine.begun) == 6
    assert all(played_by.histories[job.key].finished for job in suite.jobs)


async def test_an_agent_that_cannot_be_created_is_a_set_up_failure(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    none = Played(status="agent_failed", reason="TypeError", result=None, host="h")
    engine = TableEngine(lambda job, n: none, room=1)

    await play(suite, engine)

    assert len(engine.begun) == 2
    assert {line["failure"] for line in lines_of(suite.folder) if line["kind"] == "fault"} == {
        "setup"
    }


PRICED = {"model": "m", "price_in": 1.0, "price_out": 1.0}


async def test_money_is_reserved_before_an_episode_starts(tmp_path: Path) -> None:
    agents = [{"name": "line", **PRICED}, {"name": "half"}]
    limits, budget = {"money": 1.6, "episodes": 9}, {"money": 0.5}
    path = write_suite(tmp_path, *agents, seeds=9, limits=limits, budget=budget)
    suite = plan_suite(path, tmp_path)
    suite.folder.mkdir()
    open_at_once: list[int] = []
    engine = TableEngine(lambda job, n: played(), room=99)

    class Counting(TableEngine):
        def has_room(self, job: Job, playing: Sequence[Job]) -> bool:
            open_at_once.append(sum(each.agent == "line" for each in playing))
            return True

    engine = Counting(lambda job, n: played() if job.agent == "line" else free(), room=99)
    played_by, messages = await play(suite, engine)

    # 0.25 of 0.5 is used by each: 1.6 pays for five, of which three can be reserved at once.
    assert max(open_at_once) <= 3
    assert [job.agent for job in engine.begun].count("line") == 5
    assert [job.agent for job in engine.begun].count("half") == 9
    assert played_by.spent == pytest.approx(1.25)
    assert messages == [
        "4 episodes were not played: $1.25 of $1.60 is used, and an episode may need $0.50; raise"
        " limits.money"
    ]


def free() -> Played:
    return replace(played(), result=replace(RESULT, usage=Usage()))


async def test_a_terminal_shows_a_table_while_a_suite_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "POLL_S", 0.01)
    monkeypatch.setattr(suite_monitor, "INTERVAL_S", 0.0)
    monkeypatch.setattr(suite_monitor, "SHARE", 1.0)
    suite, out = suite_of(tmp_path), io.StringIO()
    bad = suite.jobs[0]

    class Seen(TableEngine):
        async def play(self, job: Job, folder: Path) -> Played:
            while "2 playing" not in out.getvalue():
                await asyncio.sleep(0.001)
            return await super().play(job, folder)

    engine = Seen(lambda job, n: played("crashed", "no\nreason") if job == bad else played())
    console = Console(file=out, force_terminal=True, width=100, color_system=None)

    with Live(console=console, auto_refresh=False) as live:
        await play(suite, engine, live=LiveMonitor(suite, live))

    shown = out.getvalue()
    assert "nightly: 0 of 6 episodes done · 2 playing · 4 to be played · time left unknown" in shown
    assert "without a result: 1 us" in shown
    assert "1 missing" in shown
    assert "half on tiny, seed 0: finished: private score 1, beats 50 %, 1 s" in shown
    assert r"line on tiny, seed 0: crashed (no\nreason)" in shown
    assert re.search(r"line    │ tiny │ 0    │ \d+ s", shown)


def test_this_machine_takes_as_many_episodes_as_places_and_memory_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(engines, "MEMINFO", meminfo)
    jobs = list(suite_of(tmp_path).jobs)  # each may use 1 GiB
    local = engines.LocalEngine(LimitsSection(episodes=3, margin_gb=1))

    def room(total: float, available: float, playing: int) -> bool:
        values = {"MemTotal": total, "MemAvailable": available}
        lines = [f"{name}: {int(value * 2**20)} kB" for name, value in values.items()]
        meminfo.write_text("\n".join(lines))
        return local.has_room(jobs[0], jobs[:playing])

    assert room(8, 4, 2)
    assert not room(8, 4, 3), "three places"
    assert not room(8, 1.9, 1), "its memory and the margin are not free"
    assert not room(3.5, 3.4, 2), "the others may not use theirs yet"
    assert room(1, 0.1, 0), "alone it is always played"


@pytest.mark.parametrize("request_", ["drain", "now"])
async def test_a_request_to_stop_ends_the_suite(
    tmp_path: Path, request_: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "POLL_S", 0.01)
    suite = suite_of(tmp_path)
    seconds = 60 if request_ == "now" else 0.001
    engine = TableEngine(lambda job, n: played(), seconds=seconds)

    await play(suite, engine, stop=lambda: request_ if engine.begun else "")

    assert len(engine.begun) == 2
    found = kinds(suite)
    assert found.count("started") == 2
    assert found.count("finished" if request_ == "drain" else "fault") == 2


async def test_cancelling_records_what_was_interrupted(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = TableEngine(lambda job, n: played(), seconds=60)
    running = asyncio.create_task(play(suite, engine))
    while kinds(suite).count("started") < 2:
        await asyncio.sleep(0.001)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    faults = [line for line in lines_of(suite.folder) if line["kind"] == "fault"]
    assert [(line["failure"], line["status"]) for line in faults] == [
        ("operator", "interrupted")
    ] * 2


async def test_records_that_cannot_be_written_end_the_suite(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)

    class Full(Log):
        def append(self, line: Line) -> None:
            if line.kind == "finished":
                raise SandboxError("the disk is full")
            super().append(line)

    with Full(suite.folder, Shard()) as log:
        engine = TableEngine(lambda job, n: played())
        loop = Scheduler(
            suite,
            list(suite.jobs),
            log=log,
            histories={},
            grade_keys={},
            engine=engine,
            monitor=Recorder(),
        )
        with pytest.raises(SandboxError, match="the disk is full"):
            await loop.run()
    assert len(engine.begun) == 2
