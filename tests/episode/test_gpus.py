"""GPUs are asked for, checked before anything starts, shared out between episodes, and recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import kernel_env
from kernel_env import Pool
from kernel_env.episode import Episode, EpisodeConfig, open_episode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.setup import resolve_config
from kernel_env.errors import SandboxError, UsageError
from kernel_env.sandbox import gpus
from kernel_env.sandbox.gpus import WaitingForGpuWarning
from support.episodes import execute_text
from support.files import replace_text
from support.gpus import GPU, install_gpus, wait_for_gpus

VISIBLE = "import os; os.environ['CUDA_VISIBLE_DEVICES']"


@pytest.fixture
def uuids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """UUIDs of the two GPUs of this machine."""
    return install_gpus(tmp_path / tmp_path.name, 2, monkeypatch)


@pytest.fixture
def gpu_task(task_folder: Path) -> str:
    """A task that needs a GPU."""
    with (task_folder / "task.toml").open("a") as file:
        file.write("gpus = 1\n")
    return str(task_folder)


@asynccontextmanager
async def opened(task: str, folder: Path, **options: Any) -> AsyncIterator[Episode]:
    """Open an episode in the local sandbox."""
    async with open_episode(task, sandbox="local", out=folder / "runs", **options) as episode:
        yield episode


# ── checked before anything starts ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": -1}, "the number of GPUs is -1; it must be 0 or more"),
        ({"gpus": 3}, "3 GPUs are asked for, and this machine has 2: 0 (NVIDIA H100"),
        ({"gpu_device": "4"}, "no GPU named '4'; known: 0, 1"),
        ({"gpu_device": 4}, "no GPU named '4'; known: 0, 1"),
        ({"gpus": 2, "gpu_device": "0"}, "2 GPUs are asked for, and 1 GPU is named (0)"),
        ({"gpus": 1.0}, "the option gpus is 1.0"),
        ({"gpus": "1"}, "the option gpus is '1'"),
        ({"gpu_device": None}, "the option gpu_device is None"),
        ({"devices": None}, "the option devices is None"),
        ({"devices": {"nvidia0": "/dev/zero"}}, "named 'nvidia0'; it must be an absolute path"),
        ({"devices": {GPU: "/dev/no-such"}}, "the device '/dev/no-such' is not on this machine"),
    ],
)
def test_a_wrong_request_is_rejected(
    uuids: list[str], tiny: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        EpisodeConfig(task=tiny, **options)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_that_needs_a_gpu_says_so_where_there_is_none(
    gpu_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_gpus(tmp_path / "none", 0, monkeypatch)

    with pytest.raises(UsageError) as caught:
        kernel_env.make(gpu_task)

    assert str(caught.value) == (
        "tiny needs a GPU: 1 GPU is asked for, and this machine has none; --gpus 0 runs it without"
    )
    assert EpisodeConfig(task=gpu_task, gpus=0).gpu_count == 0


@pytest.mark.parametrize(
    ("options", "count"), [({}, 1), ({"gpus": 0}, 0), ({"gpus": 2}, 2), ({"gpu_device": "0,1"}, 2)]
)
def test_options_replace_what_the_task_needs(
    uuids: list[str], gpu_task: str, options: dict[str, Any], count: int
) -> None:
    assert EpisodeConfig(task=gpu_task, **options).gpu_count == count


# ── in an episode ─────────────────────────────────────────────────────────────────────────


async def test_an_episode_gets_the_gpus_it_asked_for_and_records_their_number(
    uuids: list[str], gpu_task: str, tmp_path: Path
) -> None:
    async with opened(gpu_task, tmp_path, gpu_device=1) as episode:
        first = episode.observation.text
        visible = await execute_text(episode, VISIBLE)
        (child,) = await episode.fork()
        async with child:
            in_child = await execute_text(child, VISIBLE)
    async with opened(gpu_task, tmp_path, gpus=0) as without:
        hidden = await execute_text(without, VISIBLE)

    assert visible == in_child == repr(uuids[1])
    assert hidden == "''"
    assert "1 GPU (NVIDIA H100 80GB HBM3 with 80 GiB)" in first
    assert "Train in a subprocess" in first
    assert "no GPU" not in first
    assert episode.result is not None
    assert without.result is not None
    assert (episode.result.gpus, without.result.gpus) == (1, 0)
    assert read_journal(child.folder / "journal.jsonl").header.gpus == 1


async def test_parallel_episodes_share_the_gpus_out(
    uuids: list[str], tiny: str, tmp_path: Path
) -> None:
    running: list[str] = []

    async def play() -> str:
        async with opened(tiny, tmp_path, gpus=1) as episode:
            mine = await execute_text(episode, VISIBLE)
            assert mine not in running
            running.append(mine)
            await execute_text(episode, "import time; time.sleep(0.1)")
            running.remove(mine)
        return mine

    with pytest.warns(WaitingForGpuWarning):
        used = await asyncio.gather(play(), play(), play())

    assert {*used} == {*map(repr, uuids)}


async def test_an_episode_holds_its_gpu_until_its_last_fork_has_ended(
    uuids: list[str], tiny: str, tmp_path: Path
) -> None:
    (gpu, _) = gpus.present()
    async with opened(tiny, tmp_path, gpu_device="0") as episode:
        (child,) = await episode.fork()
    with pytest.warns(WaitingForGpuWarning):
        waiting = await wait_for_gpus([gpu], 1)

    await child.end()

    assert await waiting == (gpu,)


async def test_an_episode_that_does_not_start_holds_no_gpu(
    uuids: list[str], tiny: str, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError, match="cannot show the device"):
        async with opened(tiny, tmp_path, gpus=2, devices={GPU: "/dev/zero"}):
            pass

    async with gpus.hold(gpus.present(), 2) as held:
        assert len(held) == 2


async def test_the_warm_pool_tells_kernels_with_and_without_gpus_apart(
    uuids: list[str], tiny: str, tmp_path: Path
) -> None:
    found = []
    async with Pool(size=1) as pool:
        for options in ({}, {"gpu_device": "0"}, {"gpu_device": "1"}, {}, {"gpu_device": "0"}):
            async with opened(tiny, tmp_path, pool=pool, **options) as episode:
                found.append(await execute_text(episode, VISIBLE))
                await pool.filled()

    names = ["", uuids[0], uuids[1], "", uuids[0]]
    assert found == [repr(name) for name in names]


def test_a_back_end_with_gpus_of_its_own_gets_the_request_unchanged(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.sandbox.local.LocalSandbox.host_gpus", False)
    options: list[dict[str, Any]] = [{"gpus": 4}, {"gpu_device": "a100-3"}]

    specs = []
    for given in options:
        config = EpisodeConfig(task=tiny, sandbox="local", out=tmp_path, **given)
        assert config.gpu_candidates() == ()
        specs.append(resolve_config(config).spec)

    assert [(spec.gpus, spec.gpu_devices) for spec in specs] == [(4, ()), (1, ("a100-3",))]


def test_the_number_of_gpus_of_a_task_is_checked(gpu_task: str) -> None:
    for wrong in ("-1", "1.5", '"1"', "true"):
        replace_text(Path(gpu_task) / "task.toml", "gpus = 1", f"gpus = {wrong}")
        with pytest.raises(kernel_env.TaskError, match=r"the field resources\.gpus is wrong"):
            EpisodeConfig(task=gpu_task)
        replace_text(Path(gpu_task) / "task.toml", f"gpus = {wrong}", "gpus = 1")
