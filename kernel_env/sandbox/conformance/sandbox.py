"""Checks of the protocol `Sandbox`, for every back end."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_env.errors import SandboxError
from kernel_env.sandbox.conformance.support import LIMIT, SMALL, Check, Make, raises, sh
from kernel_env.sandbox.protocol import DATA, WORKSPACE


async def a_program_runs_in_the_workspace_and_returns_exit_code_and_output(
    make: Make,
) -> None:
    async with make(SMALL) as sandbox:
        code, output = await sh(sandbox, "pwd; echo oops >&2; exit 3")
        assert code == 3
        assert output == f"{sandbox.guest_path(WORKSPACE)}\noops"


async def output_beyond_the_limit_is_truncated_without_blocking(make: Make) -> None:
    async with make(SMALL) as sandbox:
        done = await sandbox.run(
            [sandbox.python, "-c", "print('x' * 3_000_000)"], timeout_s=20, limit_bytes=1000
        )
        assert done.exit_code == 0
        assert done.output == b"x" * 1000


async def a_program_that_exceeds_its_time_is_killed(make: Make) -> None:
    async with make(SMALL) as sandbox:
        with raises(TimeoutError):
            await sandbox.run(["sleep", "60"], timeout_s=0.2)
        _, left = await sh(
            sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]0'"
        )
        assert left == "0"


async def an_unknown_program_is_an_error_that_names_it(make: Make) -> None:
    async with make(SMALL) as sandbox:
        with raises(SandboxError, "no-such-program"):
            await sandbox.spawn(["no-such-program"])


async def descriptors_are_passed_from_3_upwards(make: Make) -> None:
    async with make(SMALL) as sandbox:
        outside, inside = os.pipe()
        try:
            process = await sandbox.spawn(["sh", "-c", "echo hello >&3"], descriptors=[inside])
            assert await process.wait() == 0
        finally:
            os.close(inside)
        with os.fdopen(outside, "rb") as file:
            assert file.read() == b"hello\n"


async def a_signal_reaches_the_whole_session(make: Make) -> None:
    async with make(SMALL) as sandbox:
        process = await sandbox.spawn(["sh", "-c", "sleep 61 & sleep 61"])
        await process.signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        for _ in range(50):  # its child dies by the same signal, in its own time
            _, left = await sh(
                sandbox,
                "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]1'",
            )
            if left == "0":
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{left} programs are left")


async def the_tail_of_the_output_is_kept(make: Make) -> None:
    async with make(SMALL) as sandbox:
        process = await sandbox.spawn(
            [sandbox.python, "-c", "print('x' * 1_000_000); print('the end')"]
        )
        await process.wait()
        for _ in range(100):
            if process.tail().endswith("the end\n"):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(process.tail()[-100:])


async def programs_run_concurrently(make: Make) -> None:
    async with make(SMALL) as sandbox:
        scripts = [sh(sandbox, f"sleep 0.1; echo {n}") for n in range(20)]
        assert [output for _, output in await asyncio.gather(*scripts)] == list(map(str, range(20)))


async def files_are_read_as_they_were_written(make: Make) -> None:
    async with make(SMALL) as sandbox:
        path, data = WORKSPACE / "new folder" / "file", bytes(range(256)) * 1000
        await sandbox.write(path, data)
        await sandbox.write(path, data[1:])
        assert await sandbox.read(path, limit_bytes=LIMIT) == data[1:]
        found = await sandbox.stat(path)
        assert found is not None
        assert (found.file_type, found.size) == ("file", len(data) - 1)


async def only_regular_files_within_the_limit_are_read(make: Make) -> None:
    async with make(SMALL) as sandbox:
        await sh(sandbox, "mkdir d; mkfifo p; ln -s /etc/passwd l; truncate -s 10G z; touch e")
        wanted = {"d": "folder", "p": "special file", "l": "link", "z": "10,737,418,240 bytes"}
        for which, word in wanted.items():
            with raises(OSError, word):
                await sandbox.read(WORKSPACE / which, limit_bytes=LIMIT)
        with raises(FileNotFoundError):
            await sandbox.read(WORKSPACE / "missing", limit_bytes=LIMIT)
        assert await sandbox.read(WORKSPACE / "e", limit_bytes=LIMIT) == b""


async def stat_reports_type_size_and_changes(make: Make) -> None:
    async with make(SMALL) as sandbox:
        assert await sandbox.stat(WORKSPACE / "f") is None
        await sh(sandbox, "echo 1 > f; ln -s f l; mkdir d")
        kinds = [
            found and found.file_type
            for found in [await sandbox.stat(WORKSPACE / n) for n in "fld"]
        ]
        assert kinds == ["file", "link", "folder"]
        before = await sandbox.stat(WORKSPACE / "f")
        assert before == await sandbox.stat(WORKSPACE / "f")
        await sh(sandbox, "sleep 0.02; touch -r l keep; echo 2 > f; touch -d @0 f")
        assert before != await sandbox.stat(WORKSPACE / "f")


async def a_link_is_not_followed_when_writing(make: Make) -> None:
    async with make(SMALL) as sandbox:
        await sh(sandbox, "echo old > target; ln -s target l")
        with raises(OSError):
            await sandbox.write(WORKSPACE / "l", b"new")
        assert await sandbox.read(WORKSPACE / "target", limit_bytes=10) == b"old\n"


async def clean_up_kills_programs_and_keeps_or_empties_the_workspace(make: Make) -> None:
    async with make(SMALL) as sandbox:
        await sh(sandbox, "echo 1 > f; mkdir -p d/e; echo 2 > d/e/f; chmod 500 d/e d")
        process = await sandbox.spawn(["sh", "-c", "(setsid sleep 62 &) ; sleep 62"])
        await sandbox.clean_up(workspace=False)
        assert await process.wait() == -signal.SIGKILL
        _, left = await sh(
            sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]2'"
        )
        assert left == "0"
        assert await sandbox.read(WORKSPACE / "f", limit_bytes=10) == b"1\n"
        await sandbox.clean_up(workspace=True)
        assert (await sh(sandbox, "ls -A"))[1] == ""


async def folders_of_the_host_are_visible_at_guest_path(make: Make) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        path.write_text("a,b\n")
        Path(folder).chmod(0o755)
        path.chmod(0o644)
        async with make(replace(SMALL, folders={DATA: Path(folder)})) as sandbox:
            assert await sh(sandbox, f"cat {sandbox.guest_path(DATA)}/train.csv") == (0, "a,b")
            assert await sandbox.read(DATA / "train.csv", limit_bytes=10) == b"a,b\n"


async def no_variable_of_the_host_is_inside(make: Make) -> None:
    os.environ["KERNEL_ENV_SECRET"] = "a secret of the host"  # noqa: S105
    try:
        async with make(SMALL) as sandbox:
            _, output = await sh(sandbox, "env; cat /proc/self/environ | tr '\\0' '\\n'")
            assert "secret" not in output.lower()
    finally:
        del os.environ["KERNEL_ENV_SECRET"]


async def waiting_calls_fail_when_the_sandbox_ends(make: Make) -> None:
    async with make(SMALL) as sandbox:
        process = await sandbox.spawn(["sleep", "63"])
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
    with raises(SandboxError):
        await asyncio.wait_for(waiting, 5)
    with raises(SandboxError):
        await sandbox.run(["true"], timeout_s=5)


SANDBOX_CHECKS: tuple[Check, ...] = (
    a_program_runs_in_the_workspace_and_returns_exit_code_and_output,
    output_beyond_the_limit_is_truncated_without_blocking,
    a_program_that_exceeds_its_time_is_killed,
    an_unknown_program_is_an_error_that_names_it,
    descriptors_are_passed_from_3_upwards,
    a_signal_reaches_the_whole_session,
    the_tail_of_the_output_is_kept,
    programs_run_concurrently,
    files_are_read_as_they_were_written,
    only_regular_files_within_the_limit_are_read,
    stat_reports_type_size_and_changes,
    a_link_is_not_followed_when_writing,
    clean_up_kills_programs_and_keeps_or_empties_the_workspace,
    folders_of_the_host_are_visible_at_guest_path,
    no_variable_of_the_host_is_inside,
    waiting_calls_fail_when_the_sandbox_ends,
)
"""For every sandbox."""
