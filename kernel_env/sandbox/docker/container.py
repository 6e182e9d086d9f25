"""A sealed container: no network, no privilege, no host variable, nowhere to write but memory.

    /data, /opt/…    folders of the host, read-only
    /workspace       a tmpfs of bounded size: the agent's files
    /snapshots       another, twice as large: what branches share and what each one changed
    /tmp, ~          smaller ones
    everything else  read-only

Files live in the container's own memory, so a program that writes for ever gets
"No space left on device" and the host's disk does not fill. The doorway, a folder
that holds the first process's program and the socket it knocks at, is read-only.

Not protected: the kernel of the host is shared (choose the runtime `runsc` against
that), programs in one container are not protected from each other, and CPU caches
are shared like everywhere. What `seccomp` lets a program do in namespaces of its own
widens the part of the host's kernel that it reaches.
"""

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, Ulimit

from kernel_env import temporary
from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine, images, seccomp
from kernel_env.sandbox.guest_client import INIT_FOLDER, GuestClient, init_command
from kernel_env.sandbox.guest_sandbox import GuestSandbox
from kernel_env.sandbox.protocol import GIB, SNAPSHOTS, WORKSPACE, Spec

USER = 10001
"""Who programs are in the container; a number no host account is likely to have."""
HOME = "/home/agent"
DOORWAY = "/run/kernel_env"
LABEL = "kernel-env"
"""Every container and image of ours carries it, and nothing without it is ever removed."""
TEMPORARY_BYTES = 1 * GIB
"""For /tmp, the home folder and shared memory together."""
START_S = 60.0

P = ParamSpec("P")
T = TypeVar("T")


class DockerSandbox(GuestSandbox):
    """Programs run in a container that is sealed off from the host and from the network."""

    isolated = True
    python = "/opt/venv/bin/python"

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.environment = {
            "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": HOME,
            "LANG": "C.UTF-8",
            "OMP_WAIT_POLICY": "passive",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.branching = spec.branching
        self.libraries = images.find(spec.image).libraries
        self._folder: Path | None = None
        self._client: docker.DockerClient | None = None
        self._creating: asyncio.Task[Container] | None = None

    async def _open(self) -> None:
        client = self._client = await asyncio.to_thread(engine.connect)
        image = images.find(self.spec.image)
        if not await call(images.is_built, client, image):
            raise SandboxError(
                f"the image {self.spec.image!r} is not built; "
                f"run: kernel-env images build {self.spec.image}"
            )
        self._folder = temporary.folder()
        doorway = self._folder / "door"
        doorway.mkdir()
        doorway.chmod(0o755)
        copy_init(doorway)
        self.box = GuestClient(doorway)
        creating = call(
            client.containers.create, image.tag, self._command(), **self._options(doorway)
        )
        self._creating = asyncio.create_task(creating)
        container = await asyncio.shield(self._creating)
        await call(container.start)
        await self._meet(container)

    async def _close(self) -> None:
        if hasattr(self, "box"):
            self.box.close()
        if self._creating is not None:
            creating, self._creating = self._creating, None
            await asyncio.wait({creating})  # what the engine was asked for, it makes
            if not creating.cancelled() and creating.exception() is None:
                await asyncio.shield(asyncio.to_thread(remove, creating.result()))
        if self._client is not None:
            self._client.close()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def folders(self) -> list[PurePosixPath]:
        """Workspace, home and temporary files; shared memory is left to those who share it."""
        return [WORKSPACE, PurePosixPath(HOME), PurePosixPath("/tmp")]  # noqa: S108

    async def sweep(self, *, empty: bool) -> None:
        """End every program, empty the temporary folders and, with `empty`, the workspace."""
        folders = [HOME, "/tmp", "/dev/shm"]  # noqa: S108 - the container's own
        await self.box.ask("sweep", empty=[*folders, *([str(WORKSPACE)] if empty else [])])

    async def _meet(self, container: Container) -> None:
        meeting = asyncio.ensure_future(self.box.meet(timeout_s=START_S))
        try:
            while not (await asyncio.wait({meeting}, timeout=0.5))[0]:
                try:
                    await call(container.reload)
                except SandboxError as error:
                    raise SandboxError(
                        f"the container of image {self.spec.image!r} ended as soon as it started;"
                        " it needs /opt/venv/bin/python, 3.11 or newer"
                    ) from error
            await meeting
        except TimeoutError as error:
            raise SandboxError(f"the container did not answer in {START_S:g} s") from error
        finally:
            meeting.cancel()

    def _command(self) -> list[str]:
        return init_command(self.python, DOORWAY, f"{DOORWAY}/door", str(SNAPSHOTS))

    def _options(self, doorway: Path) -> dict[str, Any]:
        spec = self.spec
        mine = f"uid={USER},gid={USER},nosuid,nodev,exec"
        workspace = int(spec.workspace_gb * GIB)
        snapshots = 2 * workspace
        memory = int(spec.memory_gb * GIB) + workspace + snapshots + TEMPORARY_BYTES
        seen = {doorway: DOORWAY, **{host: str(name) for name, host in spec.folders.items()}}
        return {
            "name": f"kernel-env-{uuid.uuid4().hex[:12]}",
            "labels": {LABEL: "sandbox", f"{LABEL}.owner": owner()},
            "user": f"{USER}:{USER}",
            "working_dir": str(WORKSPACE),
            "environment": self.environment,
            "network_mode": "none",
            "ipc_mode": "private",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": [
                "no-new-privileges",
                *([f"seccomp={seccomp.profile()}"] if spec.branching else []),
            ],
            "pids_limit": spec.processes,
            "mem_limit": memory,
            "memswap_limit": memory,
            "nano_cpus": int(spec.cpus * 1e9),
            "ulimits": [
                Ulimit(name="msgqueue", soft=0, hard=0),
                Ulimit(name="core", soft=0, hard=0),
            ],
            "shm_size": TEMPORARY_BYTES // 4,
            "tmpfs": {
                str(WORKSPACE): f"size={workspace},nr_inodes={spec.files},mode=0755,{mine}",
                str(SNAPSHOTS): f"size={snapshots},nr_inodes={4 * spec.files},mode=0700,{mine}",
                "/tmp": f"size={TEMPORARY_BYTES // 2},nr_inodes=100000,mode=0755,{mine}",  # noqa: S108
                HOME: f"size={TEMPORARY_BYTES // 4},nr_inodes=20000,mode=0755,{mine}",
            },
            "volumes": {str(host): {"bind": name, "mode": "ro"} for host, name in seen.items()},
            "log_config": {"Type": "none", "Config": {}},
            "auto_remove": True,
            "use_config_proxy": False,  # the user's proxies are the host's business
            "runtime": spec.runtime,
            "device_requests": [DeviceRequest(count=spec.gpus, capabilities=[["gpu"]])]
            if spec.gpus
            else None,
        }


def copy_init(doorway: Path) -> None:
    """Copy the init program into the doorway, readable for the container's user."""
    folder = doorway / INIT_FOLDER.name
    folder.mkdir()
    folder.chmod(0o755)
    for path in INIT_FOLDER.glob("*.py"):
        program = folder / path.name
        program.write_bytes(path.read_bytes())
        program.chmod(0o644)


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the engine off the event loop; its refusals become one line of `SandboxError`."""

    def asked() -> T:
        with engine.plainly("the Docker engine refused"):
            return function(*args, **kwargs)

    return await asyncio.to_thread(asked)


def remove(container: Container) -> None:
    """Remove a container and wait until it is gone."""
    try:
        container.remove(force=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # 409: its own auto-removal is under way
            raise SandboxError(f"a container could not be removed: {error.explanation}") from error
    try:
        container.wait(condition="removed", timeout=30)
    except (NotFound, APIError):
        return


def owner() -> str:
    """Which process a container belongs to, so that a stray can be told from one in use."""
    return f"{os.uname().nodename}:{os.getpid()}"


def strays(client: docker.DockerClient) -> list[Container]:
    """Containers of ours on this machine whose owner is no longer running."""
    host = os.uname().nodename
    found: list[Container] = client.containers.list(
        all=True, filters={"label": f"{LABEL}=sandbox"}, ignore_removed=True
    )

    def abandoned(container: Container) -> bool:
        name, _, pid = container.labels.get(f"{LABEL}.owner", ":").rpartition(":")
        return name == host and pid.isdigit() and not temporary.process_runs(int(pid))

    return [container for container in found if abandoned(container)]
