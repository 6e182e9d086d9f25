"""Standbys, seen from the host: copies of a kernel that wait, each at the end of a line.

    template = await boot(sandbox, libraries=…)
    standby = await copy(template.line)       # or of a live kernel's line, between two cells
    launched = await standby.serve(sandbox)   # now it is a kernel; connect to it with `session`

A standby may be copied any number of times and is not used up by it.
"""

import asyncio
import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernel_env import temporary
from kernel_env.errors import KernelError
from kernel_env.kernel.connection.control_channel import ControlChannel
from kernel_env.kernel.connection.launch import (
    KERNEL_ENVIRONMENT,
    PROGRAM,
    Launched,
    connection_info,
    listening,
)
from kernel_env.sandbox.protocol import SNAPSHOTS, Process, Sandbox

BOOT_S = 120.0
"""A template that has not booted by then is not going to: some libraries take long to import."""
COPY_S = 10.0
"""A copy takes some milliseconds; of many gigabytes of small objects, a second."""


class ForkingUnavailable(KernelError):
    """Kernels of this box cannot be copied; plain ones have to do."""


@dataclass(frozen=True, kw_only=True)
class Standby:
    """A process that waits."""

    line: ControlChannel
    pid: int
    """Its number inside the box."""

    async def copy(self) -> "Standby":
        """Another one like it. Raises `KernelError`."""
        return await copy(self.line)

    async def enter(self, layers: Sequence[Mapping[str, str]], *, seed: int | None = None) -> None:
        """Give it a view of its own of the files, copied on write; see `guest/overlay.py`.

        With a `seed` its global random states start anew. Raises `KernelError`.
        """
        await self.line.ask("enter", layers=list(layers), seed=seed, timeout_s=COPY_S)

    async def why_one_view(self, sandbox: Sandbox) -> str:
        """Why a copy cannot have files of its own here; empty when it can. Raises `KernelError`."""
        folder = str(sandbox.where(SNAPSHOTS))
        answer = await self.line.ask("probe", folder=folder, timeout_s=COPY_S)
        return f"{answer.get('why') or ''!s:.200}"

    async def rewind(self) -> None:
        """Put back the positions in open files that it shares with its original."""
        await self.line.ask("rewind", timeout_s=COPY_S)

    async def serve(self, sandbox: Sandbox, *, seed: int | None = None) -> Launched:
        """Make it a live kernel: it is a standby no more. Raises `KernelError`, `OSError`.

        Its sockets can be connected to while it is still busy with them.
        """
        process = await adopt(sandbox, self.pid)
        folder = temporary.folder()
        try:
            key = secrets.token_hex(16)
            with listening(folder) as descriptors:
                names = os.fspath(folder)
                await self.line.tell("serve", given=descriptors, key=key, names=names, seed=seed)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Launched(
            connection_info=connection_info(folder, key),
            process=process,
            folder=folder,
            line=self.line,
        )

    def close(self) -> None:
        """Let go of it; it ends. May be called again."""
        self.line.close()


async def copy(original: ControlChannel) -> Standby:
    """Copy the process at the other end. Raises `KernelError` when that cannot be done now."""
    ours, theirs = socket.socketpair()
    line = ControlChannel(ours)
    try:
        with theirs:
            await original.ask("copy", given=[theirs.fileno()], timeout_s=COPY_S)
        return Standby(line=line, pid=pid_of(await line.hear(timeout_s=COPY_S)))
    except BaseException:
        line.close()
        raise


async def boot(
    sandbox: Sandbox, *, libraries: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Standby:
    """The template of a box, with these libraries imported where they are there.

    Raises `ForkingUnavailable`, `KernelError`, `SandboxError`.
    """
    ours, theirs = socket.socketpair()
    line = ControlChannel(ours)
    program = sandbox.where(PROGRAM)
    given = {"path": str(program.parent), "libraries": list(libraries)}
    try:
        with theirs:
            process = await sandbox.spawn(
                [sandbox.python, "-P", "-m", f"{program.name}.template", json.dumps(given)],
                env={"PYTHONPATH": str(program.parent), **KERNEL_ENVIRONMENT, **(env or {})},
                descriptors=[theirs.fileno()],
            )
        try:
            answer = await line.hear(timeout_s=BOOT_S)
        except KernelError as error:
            await asyncio.sleep(0)
            said = process.tail().strip().rpartition("\n")[2]
            why = f" ({said})" if said else ""
            raise KernelError(f"the kernel did not start: {error}{why}") from error
        if "cannot" in answer:
            raise ForkingUnavailable(f"{answer['cannot']!s:.200}")
        return Standby(line=line, pid=pid_of(answer))
    except BaseException:
        line.close()
        raise


def pid_of(answer: Mapping[str, Any]) -> int:
    """The number that a process says it has. Raises `KernelError` for anything else."""
    pid = answer.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 2:
        raise KernelError("a copy of the kernel babbles")
    return pid


async def adopt(sandbox: Sandbox, pid: int) -> Process:
    """The process of that number as the box knows it. Raises `KernelError` when it is gone."""
    try:
        return await sandbox.adopt(pid)
    except ProcessLookupError as error:
        raise KernelError("a copy of the kernel is gone") from error
