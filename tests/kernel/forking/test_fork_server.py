"""A fork server owns every process that was forked in its sandbox, and ends it.

After each operation its record is compared with the processes that really run in the sandbox.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kernel_env.errors import KernelError
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.source import pristine_kernel
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS, kernel_source

LIST_FORKS = """
import os
init = os.getppid()
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        with open(f"/proc/{name}/cmdline") as file:
            command = file.read()
    except OSError:
        continue
    if int(name) != os.getpid() and int(fields[1]) == init and "boot.py" in command:
        print(name)
"""
"""Prints the forked processes of the sandbox: children of its init process."""


async def running_pids(server: ForkServer) -> list[int]:
    """Return the forked processes that really run in the sandbox."""
    done = await server.sandbox.run([server.sandbox.python, "-c", LIST_FORKS], timeout_s=20)
    assert done.exit_code == 0, done.output
    return sorted(map(int, done.output.split()))


async def assert_record_is_true(server: ForkServer, *pids: int) -> None:
    """Require that exactly the template and these processes are recorded, and run.

    A process that was just ended needs a little time to exit.
    """
    assert server.template is not None
    expected = sorted([server.template.pid, *pids])
    assert sorted(server.all_pids()) == expected
    for _ in range(50):
        if (running := await running_pids(server)) == expected:
            return
        await asyncio.sleep(0.05)
    assert running == expected


@pytest.fixture
async def instance() -> AsyncIterator[KernelInstance]:
    """A pristine kernel in a local sandbox."""
    source = kernel_source(Spec(folders=KERNEL_FOLDERS), "local")
    async with pristine_kernel(source) as opened:
        yield opened


@asynccontextmanager
async def second_instance(server: ForkServer) -> AsyncIterator[KernelInstance]:
    """Fork another kernel, in a mount namespace of its own, from the template."""
    if reason := server.overlay_unavailable_reason:
        pytest.skip(f"needs user namespaces: {reason}")
    assert server.template is not None
    second = KernelInstance(server)
    try:
        await second.serve(await second.fork_into_overlay(server.template, PRISTINE))
        yield second
    finally:
        await second.close()


def kernel_pid(instance: KernelInstance) -> int:
    """Return the process ID of the running kernel."""
    assert instance.kernel is not None
    return instance.kernel.process.pid


async def test_a_new_server_has_only_its_template() -> None:
    source = kernel_source(Spec(folders=KERNEL_FOLDERS), "local")
    server = await ForkServer.open(source.make_sandbox, source.paths)
    try:
        assert server.unused
        await assert_record_is_true(server)
    finally:
        await server.close()


async def test_a_started_kernel_is_recorded(instance: KernelInstance) -> None:
    assert not instance.server.unused
    await assert_record_is_true(instance.server, kernel_pid(instance))


async def test_a_fork_is_recorded_as_a_standby(instance: KernelInstance) -> None:
    first = await instance.fork()
    second = await instance.fork()

    assert list(instance.standbys) == [first.pid, second.pid]
    await assert_record_is_true(instance.server, kernel_pid(instance), first.pid, second.pid)


async def test_a_deleted_standby_is_ended(instance: KernelInstance) -> None:
    deleted, kept = await instance.fork(), await instance.fork()

    await instance.server.delete_standby(instance, deleted)
    await instance.server.delete_standby(instance, deleted)  # idempotent

    await assert_record_is_true(instance.server, kernel_pid(instance), kept.pid)


async def test_a_standby_that_serves_becomes_the_kernel(instance: KernelInstance) -> None:
    standby, files = await instance.fork(), await instance.snapshot()

    await instance.restore(standby, files)

    assert kernel_pid(instance) == standby.pid
    assert instance.standbys == {}
    await assert_record_is_true(instance.server, standby.pid)


async def test_a_restart_replaces_the_kernel_and_keeps_the_standbys(
    instance: KernelInstance,
) -> None:
    before, standby = kernel_pid(instance), await instance.fork()

    await instance.start(seed=1)

    assert kernel_pid(instance) != before
    await assert_record_is_true(instance.server, kernel_pid(instance), standby.pid)


async def test_a_dead_standby_does_not_become_the_kernel(instance: KernelInstance) -> None:
    standby = await instance.fork()
    os.kill(standby.pid, signal.SIGKILL)
    while not standby.channel.closed:
        await asyncio.sleep(0.01)

    with pytest.raises(KernelError, match="has ended"):
        await instance.restore(standby, None)

    assert instance.kernel is None
    await assert_record_is_true(instance.server)


async def test_the_processes_of_two_instances_are_recorded_separately(
    instance: KernelInstance,
) -> None:
    server = instance.server
    async with second_instance(server) as second:
        standby = await second.fork()

        assert server.instance_count == 2
        assert sorted(server.other_pids(instance)) == sorted([kernel_pid(second), standby.pid])
        assert server.other_pids(second) == [kernel_pid(instance)]
        assert server.waiting_pids(second)[0] == standby.pid
        await assert_record_is_true(server, kernel_pid(instance), kernel_pid(second), standby.pid)


async def test_a_closed_instance_leaves_no_process_and_no_record(
    instance: KernelInstance,
) -> None:
    server = instance.server
    async with second_instance(server) as second:
        await second.fork()
        await second.fork()
        assert second.kernel is not None
        await second.kernel.run("import subprocess; subprocess.Popen(['sleep', '99'])", timeout_s=9)

    assert server.instance_count == 1
    assert server.other_pids(instance) == []
    await assert_record_is_true(server, kernel_pid(instance))


async def test_the_first_instance_can_be_closed_before_the_second() -> None:
    first = await kernel_source(Spec(folders=KERNEL_FOLDERS), "local").open()
    server = first.server
    try:
        async with second_instance(server) as second:
            await first.fork()

            await first.close()

            assert server.instance_count == 1
            await assert_record_is_true(server, kernel_pid(second))
        assert server.unused
    finally:
        await server.close()


@pytest.mark.parametrize("branching", [True, False], ids=["own files", "shared files"])
async def test_a_trial_leaves_no_process_and_no_record(branching: bool) -> None:
    spec = Spec(folders=KERNEL_FOLDERS, branching=branching)
    async with pristine_kernel(kernel_source(spec, "local")) as instance:
        if not branching:
            instance.server.overlay_unavailable_reason = "this test shares the files"
        standby, files = await instance.fork(), await instance.snapshot()

        cell = await instance.run_trial(standby, files, "1 + 1", timeout_s=20)

        assert cell.error is None
        assert instance.server.instance_count == 1
        await assert_record_is_true(instance.server, kernel_pid(instance), standby.pid)


async def test_a_trial_that_crashes_leaves_no_process_and_no_record(
    instance: KernelInstance,
) -> None:
    standby, files = await instance.fork(), await instance.snapshot()

    cell = await instance.run_trial(standby, files, "import os; os._exit(3)", timeout_s=20)

    assert cell.broke == "the kernel exited with code 3"
    assert instance.server.instance_count == 1
    await assert_record_is_true(instance.server, kernel_pid(instance), standby.pid)


async def test_a_server_is_unused_after_its_last_instance_was_closed() -> None:
    source = kernel_source(Spec(folders=KERNEL_FOLDERS), "local")
    instance = await source.open()
    try:
        await instance.fork()

        await instance.close()
        await instance.close()  # idempotent

        assert instance.server.unused
        assert instance.server.template is not None
        assert instance.server.all_pids() == [instance.server.template.pid]
    finally:
        await instance.server.close()


async def test_closing_the_server_ends_all_processes(instance: KernelInstance) -> None:
    await instance.fork()
    pids = await running_pids(instance.server)
    assert len(pids) == 3

    await instance.server.close()

    assert [pid for pid in pids if is_running(pid)] == []


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
