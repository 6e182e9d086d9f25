"""Check that plans run one after another, report their progress, and survive agent failures."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env import plugins
from kernel_env.agents.base import Options
from kernel_env.episode import Episode, EpisodeConfig
from kernel_env.episode.actions import RequestInfo
from kernel_env.errors import AgentError, SandboxError, TaskError
from kernel_env.runner import Plan, batch, prepare_tasks, run_plans, with_seeds
from kernel_env.sandbox.docker import images
from kernel_env.tasks.prepare import is_prepared

Play = Callable[[Episode, int], None]
"""What an agent does after its first step, given the episode and the agent's seed."""
AddAgent = Callable[[Play], None]


@pytest.fixture
def add_agent(monkeypatch: pytest.MonkeyPatch) -> AddAgent:
    """Return a function that installs an agent named `test`, which makes one step."""
    find = plugins.find

    def add(then: Play) -> None:
        class TestAgent:
            model = ""

            def __init__(self, options: Options) -> None:
                self.seed = options.seed

            async def play(self, episode: Episode) -> None:
                await episode.act(RequestInfo(info_type="name"))
                await asyncio.sleep(3 * batch.REPORT_S)
                then(episode, self.seed)

        monkeypatch.setattr(
            plugins, "find", lambda kind, name: TestAgent if name == "test" else find(kind, name)
        )

    monkeypatch.setattr(batch, "REPORT_S", 0.02)
    return add


@pytest.fixture
def plans(tiny: str, tmp_path: Path) -> list[Plan]:
    """Two plans of the agent `test`, with the seeds 0 and 1."""
    config = EpisodeConfig(task=tiny, sandbox="local", agent="test", out=tmp_path / "runs")
    return with_seeds(Plan(config=config), 2)


def ignore(text: str, done: float | None) -> None:
    """Ignore a report."""


async def test_each_result_is_yielded_before_the_next_episode_begins(
    add_agent: AddAgent, plans: list[Plan]
) -> None:
    events: list[str] = []
    add_agent(lambda episode, seed: events.append(f"agent {seed}"))

    def watch(episode: Episode) -> None:
        events.append(f"watch after {len(episode.steps)} steps")

    results = []
    async for result in run_plans(plans, ignore, watch):
        events.append(f"result {result.seed}")
        results.append(result)

    assert events == [
        *("watch after 0 steps", "agent 0", "result 0"),
        *("watch after 0 steps", "agent 1", "result 1"),
    ]
    assert [result.status for result in results] == ["finished", "finished"]
    assert [result.agent for result in results] == ["test", "test"]
    assert len({result.notebook for result in results}) == 2


async def test_several_episodes_run_at_once(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, reports = asyncio.Barrier(3), []

    class Meeting:
        """Waits until three episodes have taken a step."""

        model = ""

        def __init__(self, options: Options) -> None: ...

        async def play(self, episode: Episode) -> None:
            await episode.act(RequestInfo(info_type="name"))
            await asyncio.wait_for(barrier.wait(), 60)

    monkeypatch.setattr("kernel_env.runner.job.find_agent", lambda name: Meeting)
    seeds = with_seeds(plans[0], 3)

    results = [
        result async for result in run_plans(seeds, lambda text, _: reports.append(text), at_once=3)
    ]

    assert [result.status for result in results] == ["finished"] * 3
    assert sorted(result.seed for result in results) == [0, 1, 2]
    assert any(text.startswith("running 3 episodes · ") for text in reports)


async def test_the_progress_of_an_episode_is_reported(
    add_agent: AddAgent, plans: list[Plan]
) -> None:
    reports: list[tuple[str, float | None]] = []
    add_agent(lambda episode, seed: None)

    results = [
        result async for result in run_plans(plans[:1], lambda *report: reports.append(report))
    ]

    task = plans[0].config.task
    assert len(results) == 1
    assert reports[0] == (f"{task}: starting a kernel", None)
    assert reports[-1] == (f"{task}: running test · step 1 of at most 30", 1 / 30)


async def test_after_an_agent_failure_the_next_plan_runs(
    add_agent: AddAgent, plans: list[Plan]
) -> None:
    def fail(episode: Episode, seed: int) -> None:
        if seed == 0:
            raise AgentError("the model does not answer")

    add_agent(fail)

    failed, finished = [result async for result in run_plans(plans, ignore)]

    assert (failed.status, failed.steps) == ("agent_failed", 1)
    assert "the model does not answer" in failed.error
    assert Path(failed.notebook).is_file()
    assert (finished.status, finished.steps, finished.seed) == ("finished", 1, 1)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("a bug\nof the agent\x1b]0;x\x07"),
        SystemExit("a bug\nof the agent"),
        ExceptionGroup("a bug\nof the agent", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_agent_that_raises_ends_only_its_own_episode(
    add_agent: AddAgent, plans: list[Plan], error: BaseException
) -> None:
    def crash(episode: Episode, seed: int) -> None:
        if seed == 0:
            raise error

    add_agent(crash)

    failed, finished = [result async for result in run_plans(plans, ignore)]

    assert (failed.status, failed.steps) == ("agent_failed", 1)
    name = type(error).__name__
    assert failed.error.startswith(rf"the agent test raised {name}: a bug\nof the agent")
    assert re.search(r"\(test_batch.py, line \d+; see traceback.txt\)$", failed.error)
    assert "Traceback" in Path(failed.notebook).with_name("traceback.txt").read_text()
    assert (finished.status, finished.steps) == ("finished", 1)


async def test_an_error_of_the_machine_in_a_group_is_not_held_against_the_agent(
    add_agent: AddAgent, plans: list[Plan]
) -> None:
    def crash(episode: Episode, seed: int) -> None:
        raise ExceptionGroup("two tasks", [ValueError(), SandboxError("the engine is gone")])

    add_agent(crash)

    (result,) = [result async for result in run_plans(plans[:1], ignore)]

    assert (result.status, result.error) == ("machine_failed", "the engine is gone")


async def test_a_bug_of_this_package_is_not_held_against_the_agent(
    add_agent: AddAgent, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_agent(lambda episode, seed: episode.info(3))  # type: ignore[arg-type,func-returns-value]
    monkeypatch.setattr("kernel_env.episode.episode.task_info", lambda *_: 1 / 0)

    (result,) = [result async for result in run_plans(plans[:1], ignore)]

    assert result.status == "crashed"
    assert result.error.startswith("kernel_env failed: ZeroDivisionError: division by zero")


def test_tasks_are_prepared_without_an_engine_for_the_local_sandbox(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    config, reports = EpisodeConfig(task=tiny, sandbox="local"), []

    prepare_tasks([config], lambda *report: reports.append(report))

    assert is_prepared(config.load_task())
    assert reports == [("preparing tiny", None)]


def test_a_task_that_cannot_be_prepared_is_an_error(task_folder: Path) -> None:
    (task_folder / "prepare.py").write_text(
        "def prepare(raw, public, private): raise OSError('no')\n"
    )

    with pytest.raises(TaskError, match=r"prepare\.py failed"):
        prepare_tasks([EpisodeConfig(task=str(task_folder), sandbox="local")], ignore)


@pytest.mark.docker
def test_the_images_of_several_tasks_are_built_once(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(images, "build", lambda client, image, report: built.append(image.name))
    config = EpisodeConfig(task=tiny, sandbox="docker")

    prepare_tasks([config, config, replace(config, image="tabular")], ignore)

    assert built == ["base", "tabular"]
