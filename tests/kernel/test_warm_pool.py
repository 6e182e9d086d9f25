import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest

import kernel_env
from kernel_env.errors import KernelEnvError, SandboxError
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.source import NewSandboxes
from kernel_env.kernel.warm_pool import Kind, Pool, end
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import owner
from kernel_env.sandbox.local import LocalSandbox
from kernel_env.sandbox.protocol import Spec


class CountingSource:
    """Starts kernels in local sandboxes, counts them, and fails if told to."""

    def __init__(self) -> None:
        self.opened: list[KernelInstance] = []
        self.now = self.most = 0
        self.failing: KernelEnvError | None = None

    def kind(self, name: str, memory_gb: float = 1) -> Kind:
        return Kind(name=name, source=self, memory_gb=memory_gb)

    async def close(self, server: ForkServer) -> None:
        await server.close()

    async def open(self) -> KernelInstance:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.failing:
                raise self.failing
            spec = Spec(image="base", folders={PROGRAM: PROGRAM_FOLDER})
            paths = {"DATA": PurePosixPath("/data")}
            new = NewSandboxes(make_sandbox=lambda: LocalSandbox(spec), paths=paths)
            seat = await new.open()
        finally:
            self.now -= 1
        self.opened.append(seat)
        return seat


@pytest.fixture
async def opener() -> AsyncIterator[CountingSource]:
    opener = CountingSource()
    yield opener
    for seat in opener.opened:
        await seat.server.close()


async def test_a_seat_that_was_taken_is_never_handed_out_again(opener: CountingSource) -> None:
    async with Pool(size=2) as pool:
        taken = []
        for _ in range(4):
            taken.append(await pool.take(opener.kind("a")))
            await pool.filled()

        waiting = pool.waiting

    assert len(set(map(id, taken))) == 4
    assert waiting == 2
    assert len(opener.opened) == 6
    assert all(seat.kernel and not seat.kernel.death_reason for seat in taken)


async def test_the_first_that_waits_is_pristine_and_at_once_there(opener: CountingSource) -> None:
    async with Pool(size=1) as pool:
        first = await pool.take(opener.kind("a"))
        await pool.filled()
        assert first.kernel is not None
        await first.kernel.run("x = 1; open('f', 'w')", timeout_s=30)

        (waits,) = [seat for seat in opener.opened if seat is not first]
        second = await pool.take(opener.kind("a"))
        assert second.kernel is not None
        cell = await second.kernel.run("import os; 'x' in dir(), os.listdir()", timeout_s=30)
        await pool.filled()

    assert second is waits
    assert cell.outputs[0]["data"]["text/plain"] == "(False, [])"


async def test_what_waits_is_bounded_by_its_memory(opener: CountingSource) -> None:
    async with Pool(size=5, memory_gb=4) as pool:
        await pool.take(opener.kind("a", 1.5))
        await pool.filled()
        await pool.take(opener.kind("b", 2))
        await pool.filled()

        waiting = pool.waiting

    assert waiting == 2


async def test_no_more_boxes_start_at_once_than_may(opener: CountingSource) -> None:
    async with Pool(size=3, starting=2) as pool:
        await asyncio.gather(*(pool.take(opener.kind(kind)) for kind in ("a", "a", "b", "b", "c")))
        await pool.filled()

    assert opener.most == 2


async def test_a_seat_that_died_while_it_waited_is_replaced(opener: CountingSource) -> None:
    async with Pool(size=1) as pool:
        first = await pool.take(opener.kind("a"))
        await pool.filled()
        (waits,) = [seat for seat in opener.opened if seat is not first]
        assert waits.kernel is not None
        os.kill(waits.kernel.process.pid, signal.SIGKILL)
        while not waits.kernel.death_reason:
            await asyncio.sleep(0.01)

        taken = await pool.take(opener.kind("a"))
        await pool.filled()

        assert taken is not waits
        assert taken.kernel is not None
        assert (await taken.kernel.run("1", timeout_s=30)).broke is None
        assert waits.kernel is None
        assert pool.waiting == 1


async def test_a_start_that_fails_reaches_who_asked_and_not_the_log(
    opener: CountingSource, caplog: pytest.LogCaptureFixture
) -> None:
    opener.failing = SandboxError("no engine today")
    with caplog.at_level(logging.DEBUG):
        async with Pool(size=2) as pool:
            with pytest.raises(SandboxError, match="no engine today"):
                await pool.take(opener.kind("a"))
            await pool.filled()
            opener.failing = None

            taken = await pool.take(opener.kind("a"))
            await pool.filled()

            assert taken.kernel is not None
            assert pool.waiting == 2

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_leaving_ends_all_that_waits_and_all_that_starts(opener: CountingSource) -> None:
    async with Pool(size=2) as pool:
        mine = await pool.take(opener.kind("a"))
        await pool.filled()
        waits = [seat for seat in opener.opened if seat is not mine]
        await pool.take(opener.kind("b"))

    assert len(waits) == 2
    assert all(seat.kernel is None for seat in waits)
    assert mine.kernel is not None
    assert (await mine.kernel.run("1", timeout_s=30)).broke is None
    assert opener.now == 0


async def test_two_kinds_do_not_mix() -> None:
    one, other = CountingSource(), CountingSource()
    async with Pool(size=1) as pool:
        taken = [
            await pool.take(opener.kind(kind))
            for _ in range(2)
            for kind, opener in (("a", one), ("b", other))
        ]
        await pool.filled()

    assert {id(seat) for seat in taken[::2]} < {id(seat) for seat in one.opened}
    assert {id(seat) for seat in taken[1::2]} < {id(seat) for seat in other.opened}
    for seat in (*one.opened, *other.opened):
        await seat.server.close()


async def test_a_caller_that_is_cancelled_leaves_no_box_behind(opener: CountingSource) -> None:
    async with Pool(size=1) as pool:
        taking = asyncio.create_task(pool.take(opener.kind("a")))
        await asyncio.sleep(0.05)

        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await pool.filled()

        assert pool.waiting == 1


async def test_a_start_that_is_given_up_at_any_moment_leaves_nothing(
    opener: CountingSource,
) -> None:
    await end(await opener.open())
    await asyncio.sleep(0.1)
    before = sockets()

    for number in range(24):
        opening = asyncio.create_task(opener.open())
        await asyncio.sleep(number * 0.04)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await end(await opening)

    assert sockets() == before


def sockets() -> int:
    """How many sockets are open in this process."""
    found = 0
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found += str(link.readlink()).startswith("socket")
    return found


# ── through the front door ────────────────────────────────────────────────────────────────


def containers() -> set[str]:
    client = engine.connect()
    mine = client.containers.list(filters={"label": f"kernel-env.owner={owner()}"})
    client.close()
    return {container.id for container in mine}


def until(holds: Callable[[], bool]) -> None:
    """Wait for what a thread of the environment does."""
    import time

    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it did not come about")


@pytest.mark.docker
def test_a_reset_takes_the_container_that_waits_and_starts_another(
    tiny: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox="docker", out=tmp_path, warm=1)
    before = containers()
    try:
        env.reset()
        assert env.episode is not None
        used = []
        assert env._portal is not None
        pool = env._portal.pool(1)
        assert pool is not None
        for _ in range(4):
            until(lambda: pool.waiting == 1)
            there = containers() - before
            mine = env.episode._live.sandbox._creating.result().id  # type: ignore[attr-defined]
            (waits,) = there - {mine}

            env.reset()
            used.append((mine, env.episode._live.sandbox._creating.result().id == waits))  # type: ignore[attr-defined]
            env.step({"kind": "execute_code", "code": "x = 1; _ = open('f', 'w')"})
            text = env.episode.observation.text
            assert "Traceback" not in text
    finally:
        env.close()

    assert [took for _, took in used] == [True] * 4
    assert len({mine for mine, _ in used}) == 4
    until(lambda: containers() == before)


def test_many_resets_of_a_warm_environment_are_episodes_of_their_own(
    tiny: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path, warm=1)
    texts = []

    for _ in range(12):
        env.reset()
        code = "import os; print('x' in dir(), os.listdir()); x = 1; _ = open('f', 'w')"
        texts.append(env.step({"kind": "execute_code", "code": code})[0]["text"].split("\n")[0])
    env.close()

    assert texts == ["False []"] * 12
    assert len(list((tmp_path / "tiny").iterdir())) == 12
