"""The fork server: one sandbox with a template, from which the kernels of an episode are forked.

It is the only owner of standbys: it knows every process that was forked in its sandbox, and to
which kernel instance each belongs. A server belongs to one episode and the episodes forked
from it, and is never used again after them: one sandbox is one trust domain.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import PurePosixPath

from kernel_env.errors import SandboxError
from kernel_env.kernel.forking.standby import ForkingUnavailable, Standby, boot_template
from kernel_env.sandbox.fork_support import ForkSupport, fork_support_of
from kernel_env.sandbox.protocol import Sandbox

PRISTINE = "pristine"
"""The snapshot of the agent's folders before anything has run."""


class LimitedKernelWarning(UserWarning):
    """This machine does not support everything that was requested for kernels."""


@dataclass
class Processes:
    """The forked processes of one kernel instance."""

    kernel: int | None = None
    """Process ID of the running kernel; None while there is none."""
    standbys: dict[int, Standby] = field(default_factory=dict)
    """By process ID, oldest first."""

    @property
    def pids(self) -> list[int]:
        """Return all process IDs."""
        return [*([] if self.kernel is None else [self.kernel]), *self.standbys]


class ForkServer:
    """A sandbox, its template, and every process that was forked from it. Open it with `open`."""

    def __init__(self, sandbox: Sandbox, env: Mapping[str, str], *, payloads: bool = False) -> None:
        self.sandbox, self.env, self.payloads = sandbox, env, payloads
        self.template: Standby | None = None
        """None for plain kernels."""
        self.fork_unavailable_reason: str | None = None
        """Why kernels cannot be forked here; None if they can."""
        self.overlay_unavailable_reason: str | None = None
        """Why forks cannot have files of their own; None if they can."""
        self.moving = asyncio.Lock()
        """Held while a fork has no mount namespace of its own yet, and while processes of a mount
        namespace are killed."""
        self._processes: dict[object, Processes] = {}
        self._stack = AsyncExitStack()
        self._numbers = count(1)

    @classmethod
    async def open(
        cls,
        make_sandbox: Callable[[], Sandbox],
        paths: Mapping[str, PurePosixPath],
        env: Mapping[str, str] | None = None,
        *,
        payloads: bool = False,
    ) -> "ForkServer":
        """Start a sandbox and its template.

        Args:
            make_sandbox: returns a sandbox that has not been started.
            paths: environment variables of the kernels; their values become guest paths.
            env: further environment variables of the kernels.
            payloads: whether the kernels' replies have those of IPython; see `guest/magics.py`.

        Raises `SandboxError`, `KernelError`.
        """
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(make_sandbox())
            guest_paths = {name: str(sandbox.guest_path(path)) for name, path in paths.items()}
            server = cls(sandbox, {**guest_paths, **(env or {})}, payloads=payloads)
            try:
                support = fork_support_of(sandbox)
                if support is None:
                    raise ForkingUnavailable("the sandbox has no fork support")
                server.template = await boot_template(
                    sandbox,
                    support,
                    libraries=sandbox.libraries,
                    env=server.env,
                    payloads=payloads,
                )
                stack.callback(server.template.close)
                await support.snapshot(PRISTINE)
                reason = await server.template.overlay_unavailable_reason(sandbox)
                server.overlay_unavailable_reason = reason
            except ForkingUnavailable as error:
                server.fork_unavailable_reason = str(error)
            except OSError as error:
                raise SandboxError(f"the sandbox cannot store files: {error.strerror}") from error
            server._stack = stack.pop_all()
        return server

    @property
    def support(self) -> ForkSupport:
        """Return the sandbox's fork support. Only to be used where kernels can be forked."""
        support = fork_support_of(self.sandbox)
        assert support is not None, "plain kernels need no fork support"
        return support

    @property
    def limitations(self) -> str:
        """Describe what this server does not support and why; empty if nothing is missing."""
        if self.fork_unavailable_reason is not None:
            return (
                f"forking is unavailable ({self.fork_unavailable_reason}): after a crash, cells are"
                " replayed; validate_code does not see variables; a fork starts a new container"
            )
        if self.overlay_unavailable_reason is not None and self.support.mount_namespaces:
            return (
                "forked kernels cannot have files of their own"
                f" ({self.overlay_unavailable_reason}): validate_code pauses everything else, and"
                " a fork starts a new container"
            )
        return ""

    def new_snapshot_name(self) -> str:
        """Return a name that no other snapshot has."""
        return f"files-{next(self._numbers)}"

    # ── who owns which process ────────────────────────────────────────────────────────────

    def register(self, instance: object) -> None:
        """Add a kernel instance that has no process yet."""
        self._processes[instance] = Processes()

    def unregister(self, instance: object) -> None:
        """Remove a kernel instance, and end the standbys that it still has. Idempotent."""
        processes = self._processes.pop(instance, Processes())
        for standby in processes.standbys.values():
            standby.close()

    def is_registered(self, instance: object) -> bool:
        """Return whether a kernel instance has not been closed yet."""
        return instance in self._processes

    @property
    def unused(self) -> bool:
        """Return whether no kernel instance is left."""
        return not self._processes

    @property
    def instance_count(self) -> int:
        """Return the number of kernel instances."""
        return len(self._processes)

    def standbys(self, instance: object) -> dict[int, Standby]:
        """Return the standbys of a kernel instance by process ID, oldest first."""
        return self._processes[instance].standbys

    def add_standby(self, instance: object, standby: Standby) -> None:
        """Record a standby that was forked for a kernel instance."""
        self._processes[instance].standbys[standby.pid] = standby

    async def delete_standby(self, instance: object, standby: Standby) -> None:
        """End a standby. Idempotent. Raises `SandboxError`."""
        standby.close()
        if self._processes[instance].standbys.pop(standby.pid, None) is not None:
            await self.support.resume([standby.pid])  # a stopped process cannot exit

    def disown_standby(self, instance: object, standby: Standby) -> None:
        """Remove a standby from the record without ending it: it is killed with the programs."""
        self._processes[instance].standbys.pop(standby.pid, None)

    def set_kernel(self, instance: object, standby: Standby) -> None:
        """Record that a standby becomes the running kernel of an instance."""
        processes = self._processes[instance]
        processes.standbys.pop(standby.pid, None)
        processes.kernel = standby.pid

    def clear_kernel(self, instance: object) -> None:
        """Record that an instance has no running kernel."""
        self._processes[instance].kernel = None

    def waiting_pids(self, instance: object) -> list[int]:
        """Return the processes that survive when the programs of an instance are killed."""
        template = [self.template.pid] if self.template else []
        return [*self._processes[instance].standbys, *template]

    def other_pids(self, instance: object) -> list[int]:
        """Return the processes of all other kernel instances."""
        others = (p.pids for who, p in self._processes.items() if who is not instance)
        return [pid for pids in others for pid in pids]

    def all_pids(self) -> list[int]:
        """Return every forked process, the template included."""
        template = [self.template.pid] if self.template else []
        return [*template, *(pid for p in self._processes.values() for pid in p.pids)]

    # ── end ───────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """End the template and the sandbox, and with it every process."""
        await self._stack.aclose()
