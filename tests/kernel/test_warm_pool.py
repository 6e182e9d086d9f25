"""The warm pool starts sandboxes in advance, never reuses one, and ends them all."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

import kernel_env
from kernel_env.errors import KernelEnvError, SandboxError
from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.warm_pool import Kind, Pool, end
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import owner
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS, container_of, kernel_of, kernel_source


class CountingSource:
    """Starts kernels in local sandboxes, counts them, and can be made to fail."""

    def __init__(self) -> None:
        self.opened: list[KernelInstance] = []
        self.starting = self.max_starting = 0
        self.failure: KernelEnvError | None = None

    def kind(self, name: str, memory_gb: float = 1) -> Kind:
        """Build a kind whose kernels come from this source."""
        return Kind(name=name, source=self, memory_gb=memory_gb)

    async def open(self) -> KernelInstance:
        """Start a kernel, or raise `failure`."""
        self.starting += 1
        self.max_starting = max(self.max_starting, self.starting)
        try:
            if self.failure:
                raise self.failure
            instance = await kernel_source(Spec(folders=KERNEL_FOLDERS), "local").open()
        finally:
            self.starting -= 1
        self.opened.append(instance)
        return instance

    async def close(self, server: ForkServer) -> None:
        """End a sandbox."""
        await server.close()


@pytest.fixture
async def source() -> AsyncIterator[CountingSource]:
    """A source whose sandboxes are ended after the test."""
    source = CountingSource()
    yield source
    for instance in source.opened:
        await instance.close()
        await instance.server.close()


async def test_a_kernel_is_taken_only_once(source: CountingSource) -> None:
    async with Pool(size=2) as pool:
        taken = []
        for _ in range(4):
            taken.append(await pool.take(source.kind("a")))
            await pool.filled()

        waiting = pool.waiting

    assert len(set(map(id, taken))) == 4
    assert waiting == 2
    assert len(source.opened) == 6
    assert all(instance.kernel and not instance.kernel.death_reason for instance in taken)


async def test_take_returns_the_waiting_kernel_which_is_pristine(source: CountingSource) -> None:
    async with Pool(size=1) as pool:
        first = await pool.take(source.kind("a"))
        await pool.filled()
        assert first.kernel is not None
        await first.kernel.run("x = 1; open('f', 'w')", timeout_s=30)

        (waiting,) = [instance for instance in source.opened if instance is not first]
        second = await pool.take(source.kind("a"))
        assert second.kernel is not None
        cell = await second.kernel.run("import os; 'x' in dir(), os.listdir()", timeout_s=30)
        await pool.filled()

    assert second is waiting
    assert cell.outputs[0]["data"]["text/plain"] == "(False, [])"


async def test_the_memory_of_waiting_kernels_is_limited(source: CountingSource) -> None:
    async with Pool(size=5, memory_gb=4) as pool:
        await pool.take(source.kind("a", 1.5))
        await pool.filled()
        await pool.take(source.kind("b", 2))
        await pool.filled()

        waiting = pool.waiting

    assert waiting == 2


async def test_the_number_of_simultaneous_starts_is_limited(source: CountingSource) -> None:
    async with Pool(size=3, starting=2) as pool:
        await asyncio.gather(*(pool.take(source.kind(kind)) for kind in ("a", "a", "b", "b", "c")))
        await pool.filled()

    assert source.max_starting == 2


async def test_a_waiting_kernel_that_died_is_replaced(source: CountingSource) -> None:
    async with Pool(size=1) as pool:
        first = await pool.take(source.kind("a"))
        await pool.filled()
        (waiting,) = [instance for instance in source.opened if instance is not first]
        assert waiting.kernel is not None
        os.kill(waiting.kernel.process.pid, signal.SIGKILL)
        while not waiting.kernel.death_reason:
            await asyncio.sleep(0.01)

        taken = await pool.take(source.kind("a"))
        await pool.filled()

        assert taken is not waiting
        assert taken.kernel is not None
        assert (await taken.kernel.run("1", timeout_s=30)).broke is None
        assert waiting.kernel is None
        assert pool.waiting == 1


async def test_a_failed_start_is_raised_by_take_and_not_logged(
    source: CountingSource, caplog: pytest.LogCaptureFixture
) -> None:
    source.failure = SandboxError("no engine")
    with caplog.at_level(logging.DEBUG):
        async with Pool(size=2) as pool:
            with pytest.raises(SandboxError, match="no engine"):
                await pool.take(source.kind("a"))
            await pool.filled()
            source.failure = None

            taken = await pool.take(source.kind("a"))
            await pool.filled()

            assert taken.kernel is not None
            assert pool.waiting == 2

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_leaving_the_pool_ends_waiting_and_starting_kernels(source: CountingSource) -> None:
    async with Pool(size=2) as pool:
        taken = await pool.take(source.kind("a"))
        await pool.filled()
        waiting = [instance for instance in source.opened if instance is not taken]
        await pool.take(source.kind("b"))

    assert len(waiting) == 2
    assert all(instance.kernel is None for instance in waiting)
    assert taken.kernel is not None
    assert (await taken.kernel.run("1", timeout_s=30)).broke is None
    assert source.starting == 0


async def test_kernels_of_two_kinds_are_kept_apart() -> None:
    first, second = CountingSource(), CountingSource()
    async with Pool(size=1) as pool:
        taken = [
            await pool.take(source.kind(kind))
            for _ in range(2)
            for kind, source in (("a", first), ("b", second))
        ]
        await pool.filled()

    assert {id(instance) for instance in taken[::2]} < {id(instance) for instance in first.opened}
    assert {id(instance) for instance in taken[1::2]} < {id(instance) for instance in second.opened}
    for instance in (*first.opened, *second.opened):
        await instance.close()
        await instance.server.close()


async def test_a_cancelled_take_does_not_stop_the_pool_from_filling(source: CountingSource) -> None:
    async with Pool(size=1) as pool:
        taking = asyncio.create_task(pool.take(source.kind("a")))
        await asyncio.sleep(0.05)

        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await pool.filled()

        assert pool.waiting == 1


async def test_a_start_that_is_cancelled_at_any_time_leaks_no_socket(
    source: CountingSource,
) -> None:
    await end(await source.open())
    await asyncio.sleep(0.1)
    before = sockets()

    for number in range(12):
        opening = asyncio.create_task(source.open())
        await asyncio.sleep(number * 0.08)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await end(await opening)

    assert sockets() <= before  # those of earlier tests may have been closed meanwhile


def sockets() -> int:
    """Count the sockets that are open in this process."""
    count = 0
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            count += str(link.readlink()).startswith("socket")
    return count


# ── in an environment ─────────────────────────────────────────────────────────────────────


def containers() -> set[str]:
    """Return the IDs of the containers of this process."""
    client = engine.connect()
    own = client.containers.list(filters={"label": f"kernel-env.owner={owner()}"})
    client.close()
    return {container.id for container in own}


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a thread of the environment."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("the condition was not met in 60 s")


@pytest.mark.docker
def test_a_reset_takes_the_waiting_container_and_starts_another(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="docker", out=tmp_path, warm=1)
    before = containers()
    try:
        env.reset()
        assert env.episode is not None
        used, took_waiting = [], []
        for _ in range(2):
            env.warm_up()
            current = container_of(kernel_of(env.episode)).id
            (waiting,) = containers() - before - {current}

            env.reset()
            used.append(current)
            took_waiting.append(container_of(kernel_of(env.episode)).id == waiting)
            env.step({"kind": "execute_code", "code": "x = 1; _ = open('f', 'w')"})
            assert "Traceback" not in env.episode.observation.text
    finally:
        env.close()

    assert took_waiting == [True] * 2
    assert len(set(used)) == 2
    wait_until(lambda: containers() == before)


def test_each_reset_of_a_warm_environment_starts_a_new_episode(tiny: str, tmp_path: Path) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path, warm=1)
    texts = []

    for _ in range(4):
        env.reset()
        code = "import os; print('x' in dir(), os.listdir()); x = 1; _ = open('f', 'w')"
        texts.append(env.step({"kind": "execute_code", "code": code})[0]["text"].split("\n")[0])
    env.close()

    assert texts == ["False []"] * 4
    assert len(list((tmp_path / "tiny").iterdir())) == 4
