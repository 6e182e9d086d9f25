"""A sandbox back end with the seven verbs of `Sandbox` and nothing else, built on subprocesses.

It isolates nothing. It shows what any back end must provide: kernels run in it, but cannot be
forked, so after a crash cells are replayed, and a trial or a fork starts another sandbox.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from kernel_env.errors import SandboxError
from kernel_env.sandbox import Completed, FileStat, Spec
from kernel_env.sandbox.protocol import WORKSPACE, read_descriptor

TAIL_BYTES = 16 * 1024
PASS_DESCRIPTORS = """
import fcntl, os, sys
given, argv = sys.argv[1], sys.argv[2:]
moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in given.split(",")]
for number, fd in enumerate(moved, 3):
    os.dup2(fd, number)
    os.close(fd)
os.closerange(3 + len(moved), 100)
os.execvp(argv[0], argv)
"""
"""A program that makes the descriptors it inherits 3, 4, 5, … and becomes another program."""


class SubprocessProcess:
    """A program of the sandbox, in a session of its own."""

    peak_bytes = 0  # unknown

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process
        self._output = b""
        self._sandbox_ended = False
        self._reading = asyncio.create_task(self._read()) if process.stdout else None

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(1 << 16):
            self._output = (self._output + data)[-TAIL_BYTES:]

    @property
    def exit_code(self) -> int | None:
        """Return None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the exit code. Raises `SandboxError` if the sandbox ended first."""
        code = await self._process.wait()
        if self._sandbox_ended:
            raise SandboxError("the sandbox has ended")
        return code

    async def signal(self, number: int) -> None:
        """Send a signal to the whole session, if the program still runs."""
        if self.exit_code is None:
            os.killpg(self.pid, number)

    def tail(self) -> str:
        """Return the last part of the output."""
        return self._output.decode(errors="replace")

    async def end(self, *, sandbox_ended: bool) -> None:
        """Kill the session and stop reading."""
        if self.exit_code is None:
            self._sandbox_ended = sandbox_ended
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()


class SubprocessSandbox:
    """Runs programs as subprocesses of this process, in a temporary folder."""

    isolated = False
    python = sys.executable
    libraries: Sequence[str] = ()

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._root: Path | None = None
        self._tmp = ""
        self._processes: list[SubprocessProcess] = []

    async def __aenter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="example-sandbox-"))
        self._tmp = str(self._folder("tmp"))
        self._make_folders()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        root, self._root = self._root, None
        await self._kill(sandbox_ended=True)
        if root is not None:
            shutil.rmtree(root)

    def guest_path(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path on the host: there is no other file system."""
        folders = {WORKSPACE: self._folder("workspace"), **self.spec.folders}
        for name, folder in folders.items():
            if path.is_relative_to(name):
                return PurePosixPath(folder, path.relative_to(name))
        return path

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, limit_bytes: int = 1 << 20
    ) -> Completed:
        """Run a program to its end."""
        process = await self._start(argv, env={}, stdout=asyncio.subprocess.PIPE)
        kept = bytearray()

        async def read() -> None:
            assert process.stdout is not None
            while data := await process.stdout.read(1 << 16):
                kept.extend(data[: limit_bytes - len(kept)])

        reading = asyncio.create_task(read())
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        finally:
            await asyncio.wait([reading], timeout=1)
            reading.cancel()
        return Completed(exit_code=code, output=bytes(kept))

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        descriptors: Sequence[int] = (),
    ) -> SubprocessProcess:
        """Start a program."""
        if shutil.which(argv[0]) is None:
            raise SandboxError(f"{argv[0]} could not be started: there is no such program")
        if descriptors:
            given = ",".join(map(str, descriptors))
            argv = [self.python, "-I", "-S", "-c", PASS_DESCRIPTORS, given, *argv]
        process = SubprocessProcess(
            await self._start(
                argv,
                env=env or {},
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
                stderr=stderr,
                pass_fds=descriptors,
            )
        )
        self._processes.append(process)
        return process

    async def read(self, path: PurePosixPath, *, limit_bytes: int) -> bytes:
        """Return the content of a regular file; links are not followed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.guest_path(path), flags)
        except OSError as error:
            if Path(self.guest_path(path)).is_symlink():
                raise OSError(f"{path} is a link; only a regular file is read") from error
            raise
        try:
            return read_descriptor(descriptor, path, limit_bytes)
        finally:
            os.close(descriptor)

    async def write(self, path: PurePosixPath, data: bytes) -> None:
        """Create or replace a file."""
        place = Path(self.guest_path(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(place, flags, 0o644), "wb") as file:
            file.write(data)

    async def stat(self, path: PurePosixPath) -> FileStat | None:
        """Return the state of a file."""
        try:
            found = os.lstat(self.guest_path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileStat(
            mode=found.st_mode,
            size=found.st_size,
            modified_ns=found.st_mtime_ns,
            changed_ns=found.st_ctime_ns,
            inode=found.st_ino,
        )

    async def clean_up(self, *, workspace: bool) -> None:
        """Kill every program; empty the temporary folders and, if asked to, the workspace."""
        await self._kill(sandbox_ended=False)
        for name in ("home", "tmp", *(["workspace"] if workspace else [])):
            for folder, _, _ in os.walk(self._folder(name)):
                Path(folder).chmod(0o700)
            shutil.rmtree(self._folder(name))
        self._make_folders()

    async def _start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> asyncio.subprocess.Process:
        if self._root is None:
            raise SandboxError("the sandbox has ended")
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=self._folder("workspace"),
            env={
                "PATH": f"{Path(self.python).parent}:/usr/bin:/bin",
                "HOME": str(self._folder("home")),
                "TMPDIR": self._tmp,
                **env,
            },
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.STDOUT if stderr is None else stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    async def _kill(self, *, sandbox_ended: bool) -> None:
        processes, self._processes = self._processes, []
        for process in processes:
            await process.end(sandbox_ended=sandbox_ended)
        while left := self._left_over():  # programs that made a session of their own
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    def _left_over(self) -> list[int]:
        """Return the processes that still have this sandbox's environment."""
        mark = f"TMPDIR={self._tmp}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def _folder(self, name: str) -> Path:
        if self._root is None:
            raise SandboxError("the sandbox has ended")
        return self._root / name

    def _make_folders(self) -> None:
        for name in ("workspace", "home", "tmp"):
            self._folder(name).mkdir(exist_ok=True)
