"""A sealed container: no network, no privileges, no host variables, writes go to memory only.

    /data, /opt/…    folders of the host, read-only
    /workspace       a tmpfs of bounded size: the agent's files
    /snapshots       another, twice as large: snapshots, and the changes of each fork
    /tmp, ~          smaller ones
    /dev/shm         shared memory, as large as the memory of the programs, which it is part of
    everything else  read-only

Files live in the container's own memory, so a program that writes without end gets
"No space left on device" and the host's disk does not fill up. The socket folder, which holds
the init program and the socket that it connects to, is mounted read-only. Each container has a
user ID of its own (`users`), because Linux counts some resources per user.

Not protected: the container shares the kernel of the host (use the runtime `runsc` against
that), programs in one container are not protected from each other, and CPU caches are
shared. The seccomp profile that allows namespaces (`seccomp`) exposes more of the host's
kernel.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, Ulimit

from kernel_env import temporary
from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine, images, seccomp, users
from kernel_env.sandbox.finishing import finished, in_thread
from kernel_env.sandbox.guest_client import INIT_FOLDER, GuestClient, init_command
from kernel_env.sandbox.guest_sandbox import GuestSandbox
from kernel_env.sandbox.protocol import GIB, SNAPSHOTS, WORKSPACE, Spec

HOME = "/home/agent"
TEMPORARY_FOLDERS = (HOME, "/tmp", "/dev/shm")  # noqa: S108 - the container's own
SOCKET_FOLDER = "/run/kernel_env"
"""Where the container sees the init program and its socket."""
LABEL = "kernel-env"
"""Label of every container and image of kernel_env; nothing without it is ever removed."""
TEMPORARY_BYTES = 1 * GIB
"""For /tmp and the home folder, with something to spare."""
START_S = 60.0

P = ParamSpec("P")
T = TypeVar("T")


class DockerSandbox(GuestSandbox):
    """Runs programs in a container that is sealed off from the host and from the network."""

    isolated = True
    python = "/opt/venv/bin/python"

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.environment = {"HOME": HOME}
        if not spec.gpus:  # an engine whose default runtime is NVIDIA's passes all to CUDA images
            self.environment["NVIDIA_VISIBLE_DEVICES"] = "void"
        self.mount_namespaces = spec.branching
        self._image = images.find(spec.image, cuda=spec.gpus > 0)
        self.libraries = self._image.libraries if spec.libraries is None else spec.libraries
        self.image_tag = self._image.tag
        self._folder: Path | None = None
        self._client: docker.DockerClient | None = None
        self._creating: asyncio.Future[Container] | None = None
        self._stack = ExitStack()

    @staticmethod
    def image_digest(spec: Spec) -> str:
        """Return the image's tag, which changes with everything that it is made from.

        Raises `UnknownName`, `UsageError`.
        """
        return images.find(spec.image, cuda=spec.gpus > 0).tag

    async def _open(self) -> None:
        client = self._client = await asyncio.to_thread(engine.connect)
        image = self._image
        if not await call(images.is_built, client, image):
            raise SandboxError(
                f"the image {image.name!r} is not built; run: {images.build_command(image)}"
            )
        variables = await call(images.environment, client, image)
        self.environment = {**variables, **self.environment}
        self._folder = temporary.folder()
        sockets = self._folder / "door"
        sockets.mkdir()
        sockets.chmod(0o755)
        copy_init(sockets)
        self.guest = GuestClient(sockets)
        user = self._stack.enter_context(users.hold_user_id())
        accounts = users.write_accounts(self._folder, user, HOME)
        options = self._options(user, {sockets: SOCKET_FOLDER, **accounts})
        create = client.containers.create
        self._creating = calling(create, image.tag, self._command(), **options)
        container = await asyncio.shield(self._creating)
        await self._start(container)
        await self._connect(container)

    async def _close(self) -> None:
        if hasattr(self, "guest"):
            self.guest.close()
        try:
            if self._creating is not None:
                await self._remove_created(self._creating)
                self._creating = None
        finally:
            self._stack.close()
            if self._client is not None:
                self._client.close()
            if self._folder is not None:
                await finished(in_thread(temporary.remove, self._folder))

    async def _remove_created(self, creating: "asyncio.Future[Container]") -> None:
        try:
            with suppress(SandboxError):  # it was raised where the sandbox was opened
                await finished(creating)  # the engine creates it in any case
        finally:
            if not creating.cancelled() and creating.exception() is None:
                await finished(in_thread(remove, creating.result()))

    @property
    def folders(self) -> list[PurePosixPath]:
        """Return workspace, home, temporary folder and shared memory."""
        return [WORKSPACE, *map(PurePosixPath, TEMPORARY_FOLDERS)]

    async def clean_up(self, *, workspace: bool) -> None:
        """Kill every program and empty the temporary folders; with `workspace`, that one too."""
        workspaces = [str(WORKSPACE)] if workspace else []
        await self.guest.request("clean_up", empty=[*TEMPORARY_FOLDERS, *workspaces])

    async def _start(self, container: Container) -> None:
        try:
            await call(container.start)
        except SandboxError as error:
            if self.spec.gpus and "could not select device driver" in str(error):
                raise SandboxError(
                    "the Docker engine cannot pass GPUs to containers; install the NVIDIA Container"
                    " Toolkit and restart the engine, or use no GPU (--gpus 0)"
                ) from error
            raise

    async def _connect(self, container: Container) -> None:
        connecting = asyncio.ensure_future(self.guest.accept(timeout_s=START_S))
        try:
            while not (await asyncio.wait({connecting}, timeout=0.5))[0]:
                try:
                    await call(container.reload)
                except SandboxError as error:
                    raise SandboxError(
                        f"the container of image {self.spec.image!r} ended as soon as it started;"
                        " it needs /opt/venv/bin/python, 3.11 or newer"
                    ) from error
            await connecting
        except TimeoutError as error:
            raise SandboxError(f"the container did not answer in {START_S:g} s") from error
        finally:
            connecting.cancel()

    def _command(self) -> list[str]:
        return init_command(self.python, SOCKET_FOLDER, f"{SOCKET_FOLDER}/door", str(SNAPSHOTS))

    def _options(self, user: int, own_mounts: Mapping[Path, str]) -> dict[str, Any]:
        spec = self.spec
        mine = f"uid={user},gid={user},nosuid,nodev,exec"
        workspace = int(spec.workspace_gb * GIB)
        snapshots = 2 * workspace
        memory = int(spec.memory_gb * GIB) + workspace + snapshots + TEMPORARY_BYTES
        mounts = {**own_mounts, **{host: str(name) for name, host in spec.folders.items()}}
        return {
            "name": f"kernel-env-{uuid.uuid4().hex[:12]}",
            "hostname": "sandbox",  # the same in every run
            "labels": {LABEL: "sandbox", f"{LABEL}.owner": owner()},
            "user": f"{user}:{user}",
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
            "shm_size": int(spec.memory_gb * GIB),  # counts as memory of the programs
            "tmpfs": {
                str(WORKSPACE): f"size={workspace},nr_inodes={spec.files},mode=0755,{mine}",
                str(SNAPSHOTS): f"size={snapshots},nr_inodes={4 * spec.files},mode=0700,{mine}",
                "/tmp": f"size={TEMPORARY_BYTES // 2},nr_inodes=100000,mode=0755,{mine}",  # noqa: S108
                HOME: f"size={TEMPORARY_BYTES // 4},nr_inodes=20000,mode=0755,{mine}",
            },
            "volumes": {str(host): {"bind": name, "mode": "ro"} for host, name in mounts.items()},
            "log_config": {"Type": "none", "Config": {}},
            "auto_remove": True,
            "use_config_proxy": False,  # the host's proxies do not concern the container
            "runtime": spec.runtime,
            "device_requests": [gpu_request(spec)] if spec.gpus else None,
            "devices": [f"{device}:{name}:rw" for name, device in spec.devices.items()],
        }


def gpu_request(spec: Spec) -> DeviceRequest:
    """Return what the engine's NVIDIA runtime is asked for: GPUs by UUID, or a number of them."""
    which = {"device_ids": [*spec.gpu_devices]} if spec.gpu_devices else {"count": spec.gpus}
    return DeviceRequest(capabilities=[["gpu"]], **which)


def copy_init(sockets: Path) -> None:
    """Copy the init program into the socket folder, readable for the container's user."""
    folder = sockets / INIT_FOLDER.name
    folder.mkdir()
    folder.chmod(0o755)
    for path in INIT_FOLDER.glob("*.py"):
        program = folder / path.name
        program.write_bytes(path.read_bytes())
        program.chmod(0o644)


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the engine in a thread; its errors become one line of `SandboxError`."""
    return await calling(function, *args, **kwargs)


def calling(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
    """Begin to call the engine in a thread, see `call`. No end of a task cancels the call."""

    def with_errors() -> T:
        with engine.as_sandbox_error("the Docker engine refused"):
            return function(*args, **kwargs)

    return in_thread(with_errors)


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
    """Return the label value that names this process, so that others know it is in use."""
    return f"{os.uname().nodename}:{os.getpid()}"


def strays(client: docker.DockerClient) -> list[Container]:
    """Return the containers of kernel_env on this machine whose process no longer runs."""
    host = os.uname().nodename
    found: list[Container] = client.containers.list(
        all=True, filters={"label": f"{LABEL}=sandbox"}, ignore_removed=True
    )

    def abandoned(container: Container) -> bool:
        name, _, pid = container.labels.get(f"{LABEL}.owner", ":").rpartition(":")
        return name == host and pid.isdigit() and not temporary.process_runs(int(pid))

    return [container for container in found if abandoned(container)]
