"""Start sandboxed kernels from JupyterLab, nbclient and papermill, as a kernel provisioner.

A kernelspec whose `kernel.json` contains

    {"argv": [], "display_name": "Sealed Python", "language": "python",
     "metadata": {"kernel_provisioner": {"provisioner_name": "kernel-env",
                                         "config": {"image": "tabular", "data": "/some/folder"}}}}

gets a plain kernel in a sandbox of its own, which ends with the kernel. `data` is a folder of
the host that is mounted read-only as /data.
"""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Unicode

from kernel_env.errors import SandboxError
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER, Launched, launch
from kernel_env.sandbox.protocol import DATA, Sandbox, Spec
from kernel_env.sandbox.selection import choose


class SandboxProvisioner(KernelProvisionerBase):
    """Provides a kernel in a sandbox to any program that starts kernels by a kernelspec."""

    sandbox = Unicode("auto", help="docker, local, auto, or a plug-in's name").tag(config=True)
    image = Unicode("base", help="the image of the container").tag(config=True)
    data = Unicode("", help="a folder of the host, mounted as /data").tag(config=True)

    _sandbox: Sandbox | None = None
    _launched: Launched | None = None
    _exit_code: int | None = None

    @property
    def has_process(self) -> bool:
        """Return whether a kernel was started and not cleaned up yet."""
        return self._launched is not None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel, in the existing sandbox or a new one. Raises `SandboxError`."""
        if self._sandbox is None:
            _, make = choose(self.sandbox)
            folders = {PROGRAM: PROGRAM_FOLDER}
            if self.data:
                folders[DATA] = Path(self.data)
            self._sandbox = await make(Spec(image=self.image, folders=folders)).__aenter__()
        self._exit_code = None
        self._launched = await launch(self._sandbox)
        info = {**self._launched.connection_info}
        info["key"] = str(info["key"]).encode()
        return cast("KernelConnectionInfo", info)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Ignore the command of the kernelspec: the sandbox has its own."""
        return await super().pre_launch(cmd=[], **kwargs)

    async def poll(self) -> int | None:
        """Return the exit code; None while the kernel runs."""
        if self._launched is not None and self._exit_code is None:
            self._exit_code = self._launched.process.exit_code
        return self._exit_code if self._launched is not None else 0

    async def wait(self) -> int | None:
        """Wait until the kernel has ended."""
        if self._launched is not None:
            try:
                self._exit_code = await self._launched.process.wait()
            except SandboxError:
                self._exit_code = 1
        return self._exit_code

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and its session."""
        if self._launched is not None:
            with suppress(SandboxError):  # the sandbox has ended, and the kernel with it
                await self._launched.process.signal(signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        """Kill the kernel."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the kernel's sockets and, unless it restarts, end its sandbox."""
        if self._launched is not None:
            self._launched.release()
            self._launched = None
        if not restart and self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            await sandbox.__aexit__(None, None, None)
