"""Run programs as plain processes of this user, without isolation: for trusted code and learning.

It gives a clean environment, folders of its own, and an end to everything it started. Code in
it can read the user's files, use the network, and see the answers of a task. CUDA sees the GPUs
that were asked for; a program that unsets CUDA_VISIBLE_DEVICES sees all.
"""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

from kernel_env import temporary
from kernel_env.errors import SandboxError
from kernel_env.sandbox import gpus
from kernel_env.sandbox.finishing import finished, in_thread
from kernel_env.sandbox.guest_client import INIT_FOLDER, GuestClient, init_command
from kernel_env.sandbox.guest_sandbox import GuestSandbox
from kernel_env.sandbox.protocol import SNAPSHOTS, WORKSPACE, Spec

START_S = 30.0
LIBRARIES = ("numpy.random",)
"""Imported in advance, so that all forks share the random state made at its import."""


class LocalSandbox(GuestSandbox):
    """Runs programs as this user on this machine, in folders that are removed afterwards."""

    isolated = False
    python = sys.executable
    mount_namespaces = True

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.libraries = LIBRARIES if spec.libraries is None else spec.libraries
        self._root: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def _open(self) -> None:
        for inside, device in self.spec.devices.items():
            if PurePosixPath(device) != inside:
                raise SandboxError(
                    f"the local sandbox cannot show the device {device} as {inside}: it has no"
                    " file system of its own; use the sandbox docker"
                )
        self._root = temporary.folder()
        for name in ("workspace", "home", "tmp", "door", "snapshots"):
            (self._root / name).mkdir()
        programs = [str(Path(sys.executable).parent), "/usr/bin", "/bin"]
        if self.spec.gpus and (listing := gpus.program()):
            programs.append(str(Path(listing).parent))
        self.environment = {
            "PATH": os.pathsep.join(programs),
            "HOME": str(self._root / "home"),
            "TMPDIR": str(self._root / "tmp"),
            "LANG": "C.UTF-8",
            "OMP_WAIT_POLICY": "passive",
            **gpu_environment(self.spec),
        }
        self.guest = GuestClient(self._root / "door")
        self._process = subprocess.Popen(  # noqa: ASYNC220 - quick, and asyncio's needs a watcher
            init_command(
                sys.executable,
                str(INIT_FOLDER.parent),
                str(self.guest.socket_path),
                str(self._root / "snapshots"),
            ),
            cwd=self._root / "workspace",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        await self.guest.accept(timeout_s=START_S)

    async def _close(self) -> None:
        if hasattr(self, "guest"):
            self.guest.close()
        try:
            if self._process is not None:
                await finished(in_thread(end_process, self._process))
                self._process = None
        finally:
            if self._root is not None:
                await finished(in_thread(temporary.remove, self._root))

    @property
    def folders(self) -> list[PurePosixPath]:
        """Return workspace, home and temporary folder."""
        assert self._root is not None
        return [PurePosixPath(self._root, name) for name in ("workspace", "home", "tmp")]

    def guest_path(self, path: PurePosixPath) -> PurePosixPath:
        """Return the host's own path: this sandbox has no file system of its own."""
        assert self._root is not None
        places = {
            WORKSPACE: self._root / "workspace",
            SNAPSHOTS: self._root / "snapshots",
            **self.spec.folders,
        }
        for name, place in places.items():
            if path.is_relative_to(name):
                return PurePosixPath(place, path.relative_to(name))
        return path

    async def clean_up(self, *, workspace: bool) -> None:
        """Kill every program and empty the temporary folders; with `workspace`, that one too."""
        assert self._root is not None
        names = ["home", "tmp", *(["workspace"] if workspace else [])]
        await self.guest.request("clean_up", empty=[str(self._root / name) for name in names])


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended; kill it if that takes long."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def gpu_environment(spec: Spec) -> dict[str, str]:
    """Return the variables by which CUDA finds the GPUs of a spec, and no other.

    The host's library path is passed only with GPUs: the driver's libraries can be in it.
    """
    visible = {gpus.VISIBLE: ",".join(spec.gpu_devices or map(str, range(spec.gpus)))}
    libraries = os.environ.get("LD_LIBRARY_PATH") if spec.gpus else None
    return visible | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
