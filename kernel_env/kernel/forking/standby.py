"""Standbys as the host sees them: forked processes that wait, each on a control channel.

    template = await boot_template(sandbox, support, libraries=…)
    standby = await template.fork(support)     # or fork a running kernel, between two cells
    launched = await standby.serve(support)    # now it is a kernel; connect to it

A standby can be forked any number of times; that does not use it up.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernel_env import temporary
from kernel_env.errors import KernelError
from kernel_env.kernel.connection.control_channel import ControlChannel
from kernel_env.kernel.connection.launch import (
    KERNEL_ENVIRONMENT,
    Launched,
    boot_command,
    connection_info,
    listening,
)
from kernel_env.kernel.connection.reply import names_in
from kernel_env.sandbox.fork_support import ForkSupport, Layers
from kernel_env.sandbox.protocol import SNAPSHOTS, Sandbox

BOOT_S = 120.0
"""Time limit for a template to start; some libraries take long to import."""
FORK_S = 10.0
"""Time limit for a fork. It takes milliseconds, or a second for gigabytes of small objects."""


class ForkingUnavailable(KernelError):
    """Kernels of this sandbox cannot be forked; plain ones must be used."""


@dataclass(frozen=True, kw_only=True)
class Standby:
    """A forked process that waits until it is forked, or needed as a kernel."""

    channel: ControlChannel
    pid: int
    """Process ID inside the sandbox."""
    lost_threads: tuple[str, ...] = ()
    """Names of the agent's threads that ran in the kernel and do not run in it."""
    lacks_native_threads: bool = False
    """Whether the kernel had threads of libraries that it lacks; most start theirs again."""

    async def fork(self, support: ForkSupport) -> "Standby":
        """Fork it. Raises `KernelError`."""
        return await fork(self.channel, support)

    async def enter_mount_namespace(self, layers: Layers, *, seed: int | None = None) -> None:
        """Move it into a mount namespace with an overlay; see `guest/overlay.py`.

        With a `seed` its global random states start from there. Raises `KernelError`.
        """
        await self.channel.request("enter", layers=list(layers), seed=seed, timeout_s=FORK_S)

    async def overlay_unavailable_reason(self, sandbox: Sandbox) -> str | None:
        """Return why a fork cannot have files of its own here; None if it can.

        Raises `KernelError`.
        """
        folder = str(sandbox.guest_path(SNAPSHOTS))
        response = await self.channel.request("probe", folder=folder, timeout_s=FORK_S)
        return f"{response['why']!s:.200}" if response.get("why") else None

    async def rewind(self) -> None:
        """Restore the positions in open files, which it shares with the process it came from."""
        await self.channel.request("rewind", timeout_s=FORK_S)

    async def serve(self, support: ForkSupport, *, seed: int | None = None) -> Launched:
        """Turn it into a running kernel. Raises `KernelError`, `OSError`.

        The host can connect to its sockets before the kernel is ready to serve them.
        """
        try:
            process = await support.adopt(self.pid)
        except ProcessLookupError as error:
            raise KernelError("a forked kernel has ended") from error
        folder = temporary.folder()
        try:
            key = secrets.token_hex(16)
            with listening(folder) as descriptors:
                names = os.fspath(folder)
                await self.channel.send(
                    "serve", descriptors=descriptors, key=key, names=names, seed=seed
                )
        except BaseException:
            temporary.remove(folder)
            raise
        return Launched(
            connection_info=connection_info(folder, key),
            process=process,
            folder=folder,
            channel=self.channel,
        )

    def close(self) -> None:
        """Close its channel, so that it exits. Idempotent."""
        self.channel.close()


async def fork(original: ControlChannel, support: ForkSupport) -> Standby:
    """Fork the process at the other end of a channel. Raises `KernelError`."""
    ours, theirs = socket.socketpair()
    channel = ControlChannel(ours)
    try:
        with theirs:
            response = await original.request(
                "copy", descriptors=[theirs.fileno()], timeout_s=FORK_S
            )
        pid = await channel.sender(support, timeout_s=FORK_S)
        message = await channel.receive(timeout_s=FORK_S)
        if "error" in message:
            raise KernelError(f"{message['error']!s:.200}")
        return Standby(
            channel=channel,
            pid=pid,
            lost_threads=names_in(response.get("threads")),
            lacks_native_threads=bool(response.get("native_threads")),
        )
    except BaseException:
        channel.close()
        raise


async def boot_template(
    sandbox: Sandbox,
    support: ForkSupport,
    *,
    libraries: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    payloads: bool = False,
) -> Standby:
    """Start the template of a sandbox: a pristine kernel with these libraries imported.

    With `payloads` replies have those of IPython; see `guest/magics.py`.

    Raises `ForkingUnavailable`, `KernelError`, `SandboxError`.
    """
    ours, theirs = socket.socketpair()
    channel = ControlChannel(ours)
    arguments = {
        "libraries": list(libraries),
        "folders": list(map(str, support.folders)),
        "payloads": payloads,
    }
    try:
        with theirs:
            process = await sandbox.spawn(
                boot_command(sandbox, "template", arguments),
                env={**KERNEL_ENVIRONMENT, **(env or {})},
                descriptors=[theirs.fileno()],
            )
        try:
            pid = await channel.sender(support, timeout_s=BOOT_S)
            response = await channel.receive(timeout_s=BOOT_S)
        except KernelError as error:
            await asyncio.sleep(0)
            last_line = process.tail().strip().rpartition("\n")[2]
            detail = f" ({last_line})" if last_line else ""
            raise KernelError(f"the kernel did not start: {error}{detail}") from error
        if "cannot" in response:
            raise ForkingUnavailable(f"{response['cannot']!s:.200}")
        return Standby(channel=channel, pid=pid)
    except BaseException:
        channel.close()
        raise
