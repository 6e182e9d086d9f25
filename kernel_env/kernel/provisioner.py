"""Start sandboxed kernels from JupyterLab, nbclient and papermill, as a kernel provisioner.

A kernelspec whose `kernel.json` contains

    {"argv": [], "display_name": "Sealed Python", "language": "python",
     "env": {"OMP_NUM_THREADS": "2"},
     "metadata": {"kernel_provisioner": {"provisioner_name": "kernel-env",
                                         "config": {"image": "tabular", "data": "/some/folder"}}}}

gets a plain kernel in a sandbox of its own. `data` is a folder of the host that is mounted
read-only as /data. A restarted kernel keeps sandbox, files, address and key, so its clients
reconnect. The sandbox ends when the kernel is shut down.

A kernel's environment has the variables that `env` names, with these very values, and the paths
that an episode's kernel has; nothing of the host's environment.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Unicode

from kernel_env.errors import SandboxError, UsageError
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER, Launched, launch
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Sandbox, Spec
from kernel_env.sandbox.selection import choose

T = TypeVar("T")


class SandboxProvisioner(KernelProvisionerBase):
    """Provides a kernel in a sandbox to any program that starts kernels by a kernelspec."""

    sandbox = Unicode("docker", help="docker, local, auto, or a plug-in's name").tag(config=True)
    image = Unicode("base", help="the image of the container").tag(config=True)
    data = Unicode("", help="a folder of the host, mounted as /data").tag(config=True)

    _loop: "LoopThread | None" = None
    _sandbox: Sandbox | None = None
    _launched: Launched | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._changing = asyncio.Lock()
        """Held while the kernel is launched or closed."""

    @property
    def has_process(self) -> bool:
        """Return whether a kernel was started and not cleaned up yet."""
        return self._launched is not None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel, in the existing sandbox or a new one.

        Raises `SandboxError`, `UsageError`, and `OSError` for a full disk.
        """
        restart = self._launched is not None
        self._loop = self._loop or LoopThread()
        try:
            launched = await self._loop.run(self._launch())
        except BaseException:
            if not restart:
                await self.cleanup()
            raise
        info = {**launched.connection_info}
        info["key"] = str(info["key"]).encode()
        return cast("KernelConnectionInfo", info)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Ignore the command of the kernelspec: the sandbox has its own."""
        return await super().pre_launch(cmd=[], **kwargs)

    async def poll(self) -> int | None:
        """Return the exit code; None while the kernel runs."""
        return 0 if self._launched is None else self._launched.process.exit_code

    async def wait(self) -> int | None:
        """Wait until the kernel has ended."""
        if self._launched is not None and self._loop is not None:
            with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
                await self._loop.run(self._launched.process.wait())
        return await self.poll()

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and its session."""
        if self._launched is not None and self._loop is not None:
            with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
                await self._loop.run(self._launched.process.signal(signum))

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        """Kill the kernel."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the kernel's sockets and end its sandbox. Before a restart all of it stays."""
        if restart or self._loop is None:
            return
        loop, self._loop = self._loop, None
        try:
            await loop.run(self._close())
        finally:
            await loop.stop()

    # ── in the thread ─────────────────────────────────────────────────────────────────────

    async def _launch(self) -> Launched:
        async with self._changing:
            if self._sandbox is not None:
                try:
                    return await self._launch_in(self._sandbox)
                except SandboxError as error:
                    self.log.warning("%s; a new sandbox is started, without its files", error)
                    await self._close_sandbox()
            _, make = choose(self.sandbox, trusted=False)
            self._sandbox = await make(Spec(image=self.image, folders=self._folders())).__aenter__()
            return await self._launch_in(self._sandbox)

    async def _launch_in(self, sandbox: Sandbox) -> Launched:
        paths = {"OUTPUT_PATH": WORKSPACE / "submission.csv"}
        if self.data:
            paths["DATA_PATH"] = DATA
        env = {name: str(sandbox.guest_path(path)) for name, path in paths.items()}
        self._launched = await launch(
            sandbox,
            env={**env, **self.kernel_spec.env},
            replaces=self._launched,
            payloads=True,
        )
        return self._launched

    def _folders(self) -> dict[Any, Path]:
        """Return the folders that the sandbox gets. Raises `UsageError`."""
        folders = {PROGRAM: PROGRAM_FOLDER}
        if self.data:
            folders[DATA] = Path(self.data).expanduser().absolute()
            if not folders[DATA].is_dir():
                raise UsageError(f"the kernelspec's data folder {folders[DATA]} does not exist")
        return folders

    async def _close(self) -> None:
        async with self._changing:
            if self._launched is not None:
                self._launched.release()
                self._launched = None
            await self._close_sandbox()

    async def _close_sandbox(self) -> None:
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            await sandbox.__aexit__(None, None, None)


class LoopThread:
    """An event loop in a thread of its own, which does not keep the interpreter alive.

    A sandbox belongs to one event loop that always runs. Jupyter programs call a provisioner from
    several, each only for the time of a call: `jupyter console` starts a kernel in one and
    interrupts it in another.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and return its result."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def stop(self) -> None:
        """End the thread."""
        await self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
