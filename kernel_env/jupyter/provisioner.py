"""Start sandboxed kernels from JupyterLab, nbclient and papermill, as kernel provisioners.

A kernelspec whose `kernel.json` contains

    {"argv": [], "display_name": "Sealed Python", "language": "python",
     "env": {"OMP_NUM_THREADS": "2"},
     "metadata": {"kernel_provisioner": {"provisioner_name": "kernel-env",
                                         "config": {"image": "tabular", "data": "/some/folder"}}}}

gets a kernel in a sandbox of its own. `data` is a folder of the host that is mounted read-only as
/data. A restarted kernel keeps sandbox, files, address and key, so its clients reconnect. The
sandbox ends when the kernel is shut down.

A kernel's environment has the variables that `env` names, with these very values, and the paths
that an episode's kernel has; nothing of the host's environment.

With `"provisioner_name": "kernel-env-existing"` and `"config": {"connection_file": …}` a kernelspec
stands for a kernel that runs already: a branch of another, or that of an episode.
"""

import asyncio
import json
import secrets
import signal
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Unicode

from kernel_env.errors import SandboxError, UsageError
from kernel_env.jupyter.control import send_to_control
from kernel_env.jupyter.kernelspecs import offer_branch, withdraw_branch
from kernel_env.jupyter.live_kernel import Branches
from kernel_env.jupyter.loop_thread import LoopThread
from kernel_env.jupyter.sealed_kernel import KernelConfig, SealedKernel
from kernel_env.kernel.connection.launch import CHANNELS

POLL_S = 0.05


class Provisioner(KernelProvisionerBase):
    """A provisioner of a kernel that is no process of this machine's."""

    _serving = False
    """Whether there is a kernel that was not cleaned up yet."""
    _exit_code: int | None = None
    """None while the kernel runs, as the program that started it sees it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._suffix = secrets.token_hex(2)

    @property
    def has_process(self) -> bool:
        """Return whether a kernel was started and not cleaned up yet."""
        return self._serving

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Ignore the command of the kernelspec."""
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel, or restart it.

        Raises `SandboxError`, `KernelError`, `UsageError`, and `OSError` for a full disk.
        """
        info = self._with_own_names(await self._launch())
        self._serving, self._exit_code = True, None
        return cast("KernelConnectionInfo", {**info, "key": str(info["key"]).encode()})

    def _with_own_names(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return the address with other names of the server's sockets.

        Jupyter deletes the names that it was given whenever a kernel ends or restarts.
        """
        own = f"{info['ip']}-{self._suffix}"
        for channel in CHANNELS:
            port = info[f"{channel}_port"]
            Path(f"{own}-{port}").unlink(missing_ok=True)
            Path(f"{own}-{port}").hardlink_to(f"{info['ip']}-{port}")
        return {**info, "ip": own}

    @abstractmethod
    async def _launch(self) -> dict[str, Any]:
        """Start a kernel, or restart it; returns how to connect."""

    async def poll(self) -> int | None:
        """Return the exit code; None while the kernel runs."""
        return self._exit_code if self._serving else 0

    async def wait(self) -> int | None:
        """Wait until the kernel has ended."""
        while (code := await self.poll()) is None:  # noqa: ASYNC110 - other threads end it, too
            await asyncio.sleep(POLL_S)
        return code

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        """Take the kernel for ended; it ends, or restarts, with what follows."""
        self._exit_code = -signal.SIGKILL

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """Take the kernel for ended; it ends, or restarts, with what follows."""
        self._exit_code = -signal.SIGTERM

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: ARG002
        """Take the kernel for ended, so that nobody waits for the end of a process."""
        self._exit_code = 0


class SandboxProvisioner(Provisioner):
    """Provides a kernel in a sandbox to any program that starts kernels by a kernelspec."""

    sandbox = Unicode("docker", help="docker, local, auto, or a plug-in's name").tag(config=True)
    image = Unicode("", help="the image of the container").tag(config=True)
    data = Unicode("", help="a folder of the host, mounted as /data").tag(config=True)
    task = Unicode("", help="a task, whose public files are mounted as /data").tag(config=True)

    _loop: LoopThread | None = None
    _sealed: SealedKernel | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._changing = asyncio.Lock()
        """Held while the kernel is launched or closed."""

    async def send_signal(self, signum: int) -> None:
        """Interrupt the running cell, or send another signal to the kernel and its session."""
        if self._loop is None or self._sealed is None:
            return
        live = self._sealed.live
        with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
            interrupt = signum == signal.SIGINT
            await self._loop.run(live.interrupt() if interrupt else live.signal(signum))

    async def cleanup(self, restart: bool = False) -> None:
        """End the kernel and its sandbox. Before a restart all of it stays."""
        if restart or self._loop is None:
            return
        loop, self._loop, self._serving = self._loop, None, False
        try:
            await loop.run(self._close())
        finally:
            await loop.stop()

    async def _launch(self) -> dict[str, Any]:
        self._loop = self._loop or LoopThread()
        try:
            return await self._loop.run(self._start_or_restart())
        except BaseException:
            if not self._serving:
                await self.cleanup()
            raise

    # ── in the thread ─────────────────────────────────────────────────────────────────────

    async def _start_or_restart(self) -> dict[str, Any]:
        async with self._changing:
            if self._sealed is None:
                config = KernelConfig(
                    sandbox=self.sandbox,
                    image=self.image,
                    data=self.data,
                    task=self.task,
                    env=self.kernel_spec.env,
                )
                branches = Branches(offer_branch, withdraw_branch)
                self._sealed = await SealedKernel.start(
                    config, shut_down=self._shut_down, branches=branches
                )
                if limitations := self._sealed.live.limitations:
                    self.log.warning("On this machine, %s", limitations)
            elif lost := await self._sealed.live.restart():
                self.log.warning("%s; a new sandbox is started, without its files", lost)
            return self._sealed.server.connection_info

    async def _shut_down(self, restart: bool) -> None:
        """Handle a client's request; a restart is that of the program that started the kernel."""
        if not restart:
            self._exit_code = 0

    async def _close(self) -> None:
        async with self._changing:
            sealed, self._sealed = self._sealed, None
            if sealed is not None:
                await sealed.close()


class ExistingKernelProvisioner(Provisioner):
    """Connects to a kernel that runs already, and leaves it to its owner when it is shut down."""

    connection_file = Unicode("", help="the connection file of the kernel").tag(config=True)

    async def _launch(self) -> dict[str, Any]:
        info = self._info()
        if self._exit_code is not None and self._exit_code < 0:
            await send_to_control(info, "shutdown_request", {"restart": True})
        return info

    def _info(self) -> dict[str, Any]:
        try:
            info: dict[str, Any] = json.loads(Path(self.connection_file).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no kernel runs any more at {self.connection_file}; choose another kernel"
            ) from error
        return info

    async def poll(self) -> int | None:
        """Return the exit code; None while the kernel runs."""
        return await super().poll() if self._exists() else 0

    def _exists(self) -> bool:
        return Path(self.connection_file).is_file()

    async def send_signal(self, signum: int) -> None:
        """Interrupt the running cell."""
        if signum == signal.SIGINT:
            await send_to_control(self._info(), "interrupt_request", {})

    async def cleanup(self, restart: bool = False) -> None:
        """Disconnect."""
        self._serving = self._serving and restart
