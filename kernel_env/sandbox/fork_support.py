"""The optional second protocol of a sandbox: what forking a kernel needs of it.

A forked kernel is a process that no call of `Sandbox.spawn` started. It may have a mount
namespace of its own, with an overlay over the agent's folders. `mount_namespace_of` is the ID
of a process whose mount namespace is meant; None for the one that the sandbox started with.

A sandbox offers it as the attribute `fork_support`. One that lacks the attribute, or has None
there, runs plain kernels: a cell that crashes one is followed by a replay of earlier cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from kernel_env.sandbox.protocol import FileStat, Process, Sandbox

Layers = Sequence[Mapping[str, str]]
"""What an overlay is mounted from: for each folder the paths `at`, `lower`, `upper`, `work`."""


@dataclass(frozen=True, kw_only=True)
class MemoryLimit:
    """The memory limit of a sandbox, and how often it was enforced."""

    killed: int
    """Processes that the limit has killed until now."""
    limit_bytes: int
    """0 if there is no limit."""


class ForkSupport(Protocol):
    """Handles processes that were forked in the sandbox, and snapshots of the agent's files."""

    mount_namespaces: bool
    """Whether forked kernels may have mount namespaces, if the system allows it."""

    @property
    def folders(self) -> Sequence[PurePosixPath]:
        """Return the agent's folders, which snapshots contain, as seen inside."""

    async def sender(self, connection: int) -> int:
        """Return the ID of the process that sent the next byte to a socket of the host.

        `connection` is its descriptor. The socket has the option SO_PASSCRED and something to
        read, which stays there. Raises `OSError` if the system does not know it.
        """

    async def adopt(self, pid: int) -> Process:
        """Return a process that was forked inside and whose parent has ended.

        Raises `ProcessLookupError` if there is none.
        """

    async def read(
        self, path: PurePosixPath, *, limit_bytes: int, mount_namespace_of: int | None
    ) -> bytes:
        """Return the content of a file in a mount namespace; see `Sandbox.read`."""

    async def stat(self, path: PurePosixPath, *, mount_namespace_of: int | None) -> FileStat | None:
        """Return the state of a file in a mount namespace; see `Sandbox.stat`."""

    async def kill_processes(
        self,
        *,
        keep: Sequence[int],
        mount_namespace_of: int | None = None,
        others: Sequence[int] = (),
    ) -> Mapping[int, str]:
        """Kill the processes of a mount namespace, except `keep`, and wait until they are gone.

        Those to keep are stopped; use `resume` before they are needed. Processes of unknown mount
        namespaces are killed too. `others` are processes whose mount namespaces are left alone.
        Returns the names of those that were killed, by process ID; the names are untrusted.
        """

    async def pause(self, *, keep: Sequence[int]) -> list[int]:
        """Stop every process except `keep`. Returns the IDs of those that were stopped."""

    async def resume(self, pids: Sequence[int]) -> None:
        """Continue stopped processes."""

    async def memory_used(self, pids: Sequence[int], *, enough_bytes: int) -> int:
        """Return the memory of these processes in bytes (proportional set size).

        The cheaper resident size, which is never smaller, is returned if it is at most
        `enough_bytes`.
        """

    async def memory_limit(self) -> MemoryLimit:
        """Return the memory limit and how many processes it has killed."""

    async def snapshot(
        self,
        name: str,
        *,
        prior: str | None = None,
        same_as: str | None = None,
        mount_namespace_of: int | None = None,
        mapped_by: int | None = None,
    ) -> None:
        """Take a snapshot of the agent's folders.

        Args:
            name: the name of the new snapshot.
            prior: an earlier snapshot of the same mount namespace, to share unchanged files with.
            same_as: the snapshot that the mount namespace was just created from.
            mount_namespace_of: the process whose files are meant.
            mapped_by: a process; files that it or its descendants have mapped for writing are
                never taken as unchanged.

        Raises `OSError` if there is no space.
        """

    async def restore(self, name: str, *, mount_namespace_of: int | None = None) -> None:
        """Restore the agent's folders from a snapshot. Raises `OSError`."""

    async def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot."""

    async def create_overlay(self, name: str) -> Layers:
        """Prepare the layers of an overlay over a snapshot. Raises `OSError`."""

    async def remove_overlay(self, layers: Layers) -> None:
        """Delete the files of an overlay whose processes have ended."""


def fork_support_of(sandbox: Sandbox) -> ForkSupport | None:
    """Return what a sandbox offers for forking; None if it runs plain kernels only."""
    support: ForkSupport | None = getattr(sandbox, "fork_support", None)
    return support
