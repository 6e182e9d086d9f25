"""Run a kernel for Jupyter programs: in a sandbox of its own, with its server and its branches."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_env import plugins
from kernel_env.errors import UsageError
from kernel_env.jupyter.live_kernel import LIMITS, Branches, LiveKernel
from kernel_env.jupyter.server import Server
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.kernel.source import NewSandboxes
from kernel_env.sandbox.docker import images
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Spec
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare

IMAGE = "base"


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """What a kernel runs in."""

    sandbox: str = "docker"
    """`docker`, `local`, `auto` (which is `docker` here), or a plug-in's name."""
    image: str = ""
    """Name of the image; empty for that of the task, or `base`."""
    data: str = ""
    """A folder of the host that is mounted read-only as /data; empty for none."""
    task: str = ""
    """A task's name or folder: its public files are in /data, and its limits hold; or empty."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the kernel, with these very values."""


@dataclass(kw_only=True)
class SealedKernel:
    """A kernel with its server and its branches. Begin with `start`, end with `close`."""

    live: LiveKernel
    server: Server
    branches: Branches

    @classmethod
    async def start(
        cls,
        config: KernelConfig,
        *,
        shut_down: Callable[[bool], Awaitable[None]],
        branches: Branches,
        listen_at: Mapping[str, Any] | None = None,
    ) -> "SealedKernel":
        """Start a kernel in a new sandbox, and serve its clients.

        Args:
            config: what it runs in.
            shut_down: called when a client wants the kernel to end, or (True) to restart.
            branches: where its branches are kept.
            listen_at: see `Server`.

        Raises `UsageError`, `TaskError`, `SandboxError`, `KernelError`, `OSError`.
        """
        kernel = RecoverableKernel(source_of(config), LIMITS)
        live = LiveKernel(kernel, shut_down=shut_down, branches=branches)
        server = Server(live, commands=live.commands, listen_at=listen_at)
        try:
            await live.start()
            await server.start()
        except BaseException:
            await live.close()
            raise
        return cls(live=live, server=server, branches=branches)

    async def close(self) -> None:
        """End server, branches, kernel and sandbox. Idempotent."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.live.close)
            stack.push_async_callback(self.branches.close)
            stack.push_async_callback(self.server.close)


def check(config: KernelConfig) -> None:
    """Raise `UsageError`, `UnknownName` or `TaskError` if a kernel cannot run in this."""
    plugins.find("sandbox", "docker" if config.sandbox == "auto" else config.sandbox)
    if config.image and config.sandbox == "docker":
        images.find(config.image)
    if config.task:
        catalog.find(config.task)
    folder_of(config)


def folder_of(config: KernelConfig) -> Path | None:
    """Return the data folder; None without one. Raises `UsageError`."""
    if not config.data:
        return None
    folder = Path(config.data).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"the kernelspec's data folder {folder} does not exist")
    return folder


def source_of(config: KernelConfig) -> NewSandboxes:
    """Return where the kernels come from. Raises `UsageError`, `TaskError`, `SandboxError`."""
    _, make = choose(config.sandbox, trusted=False)
    folders, paths = {PROGRAM: PROGRAM_FOLDER}, {"OUTPUT_PATH": WORKSPACE / "submission.csv"}
    spec = Spec(image=config.image or IMAGE, libraries=())  # a kernel starts sooner
    if config.task:
        task = catalog.find(config.task)
        folders[DATA] = prepare(task).public
        paths["OUTPUT_PATH"] = PurePosixPath(task.submission_path)
        spec = Spec(
            image=config.image or task.file.image,
            libraries=task.file.resources.libraries,
            memory_gb=task.file.limits.memory_gb,
            workspace_gb=task.file.limits.workspace_gb,
            cpus=task.file.limits.cpus,
        )
    if (folder := folder_of(config)) is not None:
        folders[DATA] = folder
    if DATA in folders:
        paths["DATA_PATH"] = DATA
    spec = replace(spec, folders=folders)
    return NewSandboxes(make_sandbox=lambda: make(spec), paths=paths, env=config.env, payloads=True)
