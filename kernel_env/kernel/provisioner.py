"""Start our containers from JupyterLab, nbclient and papermill: jupyter_client's own seam.

A kernelspec whose `kernel.json` says

    {"argv": [], "display_name": "Sealed Python", "language": "python",
     "metadata": {"kernel_provisioner": {"provisioner_name": "kernel-env",
                                         "config": {"image": "tabular", "data": "/some/folder"}}}}

gets a kernel in a box of its own, which ends with the kernel. `data` is a folder of
the host that is seen read-only as /data.
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
    """A kernel in a sandbox, for any program that starts kernels by a kernelspec."""

    sandbox = Unicode("auto", help="docker, local, auto, or a plug-in's name").tag(config=True)
    image = Unicode("base", help="the image of the container").tag(config=True)
    data = Unicode("", help="a folder of the host, seen as /data").tag(config=True)

    _box: Sandbox | None = None
    _launched: Launched | None = None
    _exit_code: int | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and not yet cleaned up."""
        return self._launched is not None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel, in the box that is there or in a new one. Raises `SandboxError`."""
        if self._box is None:
            _, make = choose(self.sandbox)
            folders = {PROGRAM: PROGRAM_FOLDER}
            if self.data:
                folders[DATA] = Path(self.data)
            self._box = await make(Spec(image=self.image, folders=folders)).__aenter__()
        self._exit_code = None
        self._launched = await launch(self._box)
        info = {**self._launched.connection_info}
        info["key"] = str(info["key"]).encode()
        return cast("KernelConnectionInfo", info)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """The command of the kernelspec is not used: the box has its own."""
        return await super().pre_launch(cmd=[], **kwargs)

    async def poll(self) -> int | None:
        """None while the kernel runs."""
        if self._launched is not None and self._exit_code is None:
            self._exit_code = self._launched.process.exit_code
        return self._exit_code if self._launched is not None else 0

    async def wait(self) -> int | None:
        """Until the kernel has ended."""
        if self._launched is not None:
            try:
                self._exit_code = await self._launched.process.wait()
            except SandboxError:
                self._exit_code = 1
        return self._exit_code

    async def send_signal(self, signum: int) -> None:
        """To the kernel and what it started."""
        if self._launched is not None:
            with suppress(SandboxError):  # the box is gone, and the kernel with it
                await self._launched.process.signal(signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        """At once."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """With a chance to tidy up."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Forget the kernel's sockets and, unless it restarts, end its box."""
        if self._launched is not None:
            self._launched.forget()
            self._launched = None
        if not restart and self._box is not None:
            box, self._box = self._box, None
            await box.__aexit__(None, None, None)
