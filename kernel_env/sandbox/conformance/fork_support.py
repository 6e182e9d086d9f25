"""Checks of the protocol `ForkSupport`, for back ends that offer it."""

import asyncio
import select
import signal
import socket

from kernel_env.sandbox.conformance.support import SMALL, Check, Make, raises, sh
from kernel_env.sandbox.fork_support import ForkSupport, fork_support_of
from kernel_env.sandbox.protocol import SNAPSHOTS, WORKSPACE, Sandbox


def support_of(sandbox: Sandbox) -> ForkSupport:
    """Return the fork support of a sandbox that must have it."""
    support = fork_support_of(sandbox)
    assert support is not None, "the sandbox offers no fork_support"
    return support


async def an_adopted_orphan_reports_its_exit_code(make: Make) -> None:
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        _, pid = await sh(sandbox, "(setsid sh -c 'sleep 0.3; exit 7' >/dev/null & echo $!)")
        process = await forks.adopt(int(pid))
        assert await process.wait() == 7
        assert (process.exit_code, process.peak_bytes > 0) == (7, True)
        with raises(ProcessLookupError):
            await forks.adopt(1 << 21)


async def processes_are_killed_except_those_to_keep(make: Make) -> None:
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        kept = await sandbox.spawn(["sleep", "64"])
        gone = await sandbox.spawn(["sh", "-c", "(setsid sleep 65 &) ; sleep 65"])
        await forks.kill_processes(keep=[kept.pid])
        assert await gone.wait() == -signal.SIGKILL
        _, left = await sh(
            sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o 'sleep [6][45]'"
        )
        assert left == "sleep 64"
        assert kept.exit_code is None
        assert await state_of(sandbox, kept.pid) == "T"
        await forks.resume([kept.pid])
        assert await state_of(sandbox, kept.pid) in ("R", "S")


async def the_sender_of_a_message_is_known(make: Make) -> None:
    send = "import os; os.write(3, b'1'); print(os.getpid(), flush=True); os.read(3, 1)"
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with raises(BlockingIOError):
                await forks.sender(ours.fileno())
            process = await sandbox.spawn(
                [sandbox.python, "-c", send], descriptors=[theirs.fileno()]
            )
            await asyncio.to_thread(select.select, [ours], [], [], 10)
            assert await forks.sender(ours.fileno()) == process.pid
            assert ours.recv(1) == b"1"


async def state_of(sandbox: Sandbox, pid: int) -> str:
    """Return the state of a process: S for one that waits, T for one that is stopped."""
    _, line = await sh(sandbox, f"grep State: /proc/{pid}/status")
    return line.split()[1]


async def processes_are_paused_and_resumed(make: Make) -> None:
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        write = "import sys, time\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.02)"
        kept = await sandbox.spawn([sandbox.python, "-c", write, "kept"])
        other = await sandbox.spawn([sandbox.python, "-c", write, "held"])
        await sh(sandbox, "while [ ! -s held -o ! -s kept ]; do sleep 0.05; done")
        paused = await forks.pause(keep=[kept.pid])
        assert other.pid in paused
        assert kept.pid not in paused
        before = await sandbox.stat(WORKSPACE / "held"), await sandbox.stat(WORKSPACE / "kept")
        await asyncio.sleep(0.3)
        assert await sandbox.stat(WORKSPACE / "held") == before[0]
        assert await sandbox.stat(WORKSPACE / "kept") != before[1]
        await forks.resume(paused)
        await asyncio.sleep(0.3)
        assert await sandbox.stat(WORKSPACE / "held") != before[0]


async def files_are_restored_from_a_snapshot(make: Make) -> None:
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        await sh(
            sandbox, "echo 1 > f; mkdir d; echo 2 > d/g; echo 3 > ~/h; echo 4 > ${TMPDIR:-/tmp}/t"
        )
        await forks.snapshot("one")
        await sh(sandbox, "echo 5 > f; rm -r d; echo 6 > n; rm ~/h; echo 7 > ${TMPDIR:-/tmp}/t")
        await forks.snapshot("two", prior="one")
        await forks.restore("one")
        everything = "cat f d/g ~/h ${TMPDIR:-/tmp}/t; ls"
        assert (await sh(sandbox, everything))[1].split() == [*"1234", "d", "f"]
        await forks.restore("two")
        assert (await sh(sandbox, "cat f n ${TMPDIR:-/tmp}/t; ls; ls ~"))[1].split() == [
            *"567",
            "f",
            "n",
        ]
        await forks.delete_snapshot("one")
        with raises(OSError, "one"):
            await forks.restore("one")


async def overlay_layers_are_created_and_removed(make: Make) -> None:
    async with make(SMALL) as sandbox:
        forks = support_of(sandbox)
        await sh(sandbox, "echo 1 > f")
        await forks.snapshot("one")
        layers = await forks.create_overlay("one")
        assert (
            await sh(sandbox, f"cat {layers[0]['lower']}/f; ls -A {sandbox.guest_path(SNAPSHOTS)}")
        )[1].split() == ["1", "blobs", layers[0]["lower"].split("/")[-3]]
        await forks.remove_overlay(layers)
        assert (await sh(sandbox, f"ls -A {sandbox.guest_path(SNAPSHOTS)}"))[1] == "blobs"


FORK_SUPPORT_CHECKS: tuple[Check, ...] = (
    an_adopted_orphan_reports_its_exit_code,
    processes_are_killed_except_those_to_keep,
    the_sender_of_a_message_is_known,
    processes_are_paused_and_resumed,
    files_are_restored_from_a_snapshot,
    overlay_layers_are_created_and_removed,
)
"""For sandboxes with `fork_support`."""
