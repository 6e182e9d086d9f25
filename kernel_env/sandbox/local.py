"""A plain process beside us. It isolates nothing: for trusted code and for learning.

What it does give: a clean environment, folders of its own, and an end to
everything it started. Code in it can read your files, reach the network and
see the answers of a task.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

from kernel_env import temporary
from kernel_env.sandbox.guest_client import INIT_FOLDER, GuestClient, init_command
from kernel_env.sandbox.guest_sandbox import GuestSandbox
from kernel_env.sandbox.protocol import SNAPSHOTS, WORKSPACE, Spec

START_S = 30.0


class LocalSandbox(GuestSandbox):
    """Programs run as this user on this machine, in folders that are removed afterwards."""

    isolated = False
    python = sys.executable
    libraries = ("numpy.random",)  # what it draws from is made when it is imported: once for all
    branching = True

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._root: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def _open(self) -> None:
        self._root = temporary.folder()
        for name in ("workspace", "home", "tmp", "door", "snapshots"):
            (self._root / name).mkdir()
        self.environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "HOME": str(self._root / "home"),
            "TMPDIR": str(self._root / "tmp"),
            "LANG": "C.UTF-8",
            "OMP_WAIT_POLICY": "passive",
        }
        self.box = GuestClient(self._root / "door")
        self._process = subprocess.Popen(  # noqa: ASYNC220 - quick, and asyncio's needs a watcher
            init_command(
                sys.executable,
                str(INIT_FOLDER.parent),
                str(self.box.door),
                str(self._root / "snapshots"),
            ),
            cwd=self._root / "workspace",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        await self.box.meet(timeout_s=START_S)

    async def _close(self) -> None:
        if hasattr(self, "box"):
            self.box.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, 10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._root is not None:
            await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    @property
    def folders(self) -> list[PurePosixPath]:
        """Workspace, home and temporary files."""
        assert self._root is not None
        return [PurePosixPath(self._root, name) for name in ("workspace", "home", "tmp")]

    def where(self, path: PurePosixPath) -> PurePosixPath:
        """The host's own path: this box has no file system of its own."""
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

    async def sweep(self, *, empty: bool) -> None:
        """End every program, empty the temporary folders and, with `empty`, the workspace."""
        assert self._root is not None
        names = ["home", "tmp", *(["workspace"] if empty else [])]
        await self.box.ask("sweep", empty=[str(self._root / name) for name in names])
