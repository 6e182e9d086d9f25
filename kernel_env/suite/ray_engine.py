"""Play episodes on the nodes of a Ray cluster (extra `ray`).

Ray decides on which node an episode is played, and nothing else: it never retries one. What a node
that is lost means is for `policy` to decide, so that attempts and money are counted once.

A node plays episodes if it has the custom resource `engine`: as many at once as it has of it, and
as its cores and memory allow. All nodes need this package, and the task folders and agents' files
under the same paths. If a node does not see the suite's folder, it plays into a temporary one, and
the episode's folder is sent back before its ending is recorded.

A process of Ray that ends abruptly would kill what it has started: the init process of the sandbox
`local`, but not its kernels. It must not, so that process ends its sandbox, as everywhere.

Not limited here: `limits.starts` and `limits.margin_gb`, because Ray's resources take their place,
and `max_calls`, which holds for each process that plays.
"""

import asyncio
import hashlib
import io
import logging
import os
import socket
import tarfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_env import temporary
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.errors import KernelEnvError, SandboxError, needs_extra
from kernel_env.runner import Plan, prepare_tasks
from kernel_env.sandbox.protocol import GIB
from kernel_env.suite.leftovers import registered
from kernel_env.suite.plan import Job, Suite
from kernel_env.suite.playing import Played, play_once, recorded, refused
from kernel_env.suite.records import JOBS
from kernel_env.untrusted_text import escape_line

RESOURCE = "engine"
"""The custom resource of a node: how many episodes it plays at once."""
QUEUED = 2
"""Episodes that are submitted, for each that can be played: those that wait start at once."""
LOOK_S = 5.0
"""How long the number of places in the cluster is taken to be the same."""
CONNECT_S = 10.0
"""How long the head of a cluster may take to accept a connection."""
TICK_S = 0.25
"""The longest time after which a request to cancel is noticed."""
KEEP_CHILDREN = {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "0"}}
"""The environment of a process that plays; see above."""
END_S = 120.0
"""How long an episode that is cancelled may take to end."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a node returns."""

    played: Played
    archive: bytes | None
    """The attempt's folder as a tar file; None if the node sees the suite's folder."""


class RayEngine:
    """Plays each episode in a process of a node of a Ray cluster."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._looked = -LOOK_S
        self._places = 0
        self._ray: Any = None
        self._digest = ""

    async def __aenter__(self) -> Self:
        """Connect to the cluster. Raises `MissingExtra` without Ray, `SandboxError` without one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with needs_extra("the engine ray", "ray"):
            import ray
        address = os.environ.get("RAY_ADDRESS") or "auto"
        try:
            await check_address(address)
            # Not in the main thread, whose handler of SIGTERM Ray would replace.
            await asyncio.to_thread(
                ray.init, address=address, log_to_driver=False, logging_level=logging.ERROR
            )
        except Exception as error:
            raise SandboxError(
                f"no Ray cluster at {address} ({escape_line(str(error))}); start one with"
                " `ray start --head`, or set RAY_ADDRESS"
            ) from error
        self._ray = ray
        self._digest = digest_of(self._suite.folder)
        if not self.places:
            ray.shutdown()
            raise SandboxError(
                f"no node of the Ray cluster has the resource {RESOURCE}; start nodes with ray"
                f" start --address=… --resources='{{\"{RESOURCE}\": 4}}'"
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._ray.shutdown)

    @property
    def places(self) -> int:
        """Return how many episodes the cluster can play at once, as of a moment ago."""
        if time.monotonic() - self._looked > LOOK_S:
            self._places = int(self._ray.cluster_resources().get(RESOURCE, 0))
            self._looked = time.monotonic()
        return self._places

    def has_room(self, job: Job, playing: Sequence[Job]) -> bool:  # noqa: ARG002 - any job fits
        """Return whether another job can be submitted: a few more than there are places."""
        limit = self._suite.file.limits.episodes or QUEUED * max(1, self.places)
        return len(playing) < limit

    async def play(self, job: Job, folder: Path) -> Played:
        """Play a job on a node."""
        limits = job.plan.config.load_task().file.limits
        submit = self._ray.remote(play_there).options(
            name=job.name,
            max_retries=0,
            retry_exceptions=False,
            num_cpus=limits.cpus,
            memory=int(limits.memory_gb * GIB),
            num_gpus=job.plan.config.gpu_count,
            resources={RESOURCE: 1},
            runtime_env=KEEP_CHILDREN,
        )
        reference = submit.remote(job.plan, str(folder), str(self._suite.folder), self._digest)
        try:
            sent: Sent = await reference
        except asyncio.CancelledError:
            self._ray.cancel(reference)
            await asyncio.to_thread(self._ray.wait, [reference], timeout=END_S)
            raise
        except Exception as error:  # noqa: BLE001 - becomes a record
            return lost(error, folder, isinstance(error, self._ray.exceptions.RayTaskError))
        if sent.archive is not None:
            await asyncio.to_thread(unpack, sent.archive, folder)
        return with_folder(sent.played, folder)


async def check_address(address: str) -> None:
    """Connect to a cluster's address once; Ray itself tries for minutes. Raises `OSError`."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, int(port))
        writer.close()


def lost(error: Exception, folder: Path, is_bug: bool) -> Played:
    """Return how an attempt ended whose node or process is gone, or whose program failed."""
    first = str(error).strip().partition("\n")[0]
    reason = escape_line(f"{type(error).__name__}: {first}")
    status = "crashed" if is_bug else "machine_failed"
    found = recorded(folder)
    result = replace(found, status=status, error=reason) if found else None
    return Played(status=status, reason=reason, result=result, host="")


def digest_of(folder: Path) -> str:
    """Return what tells whether another machine sees the same folder of a suite."""
    return hashlib.sha256((folder / JOBS).read_bytes()).hexdigest()


def with_folder(played: Played, folder: Path) -> Played:
    """Return how an attempt ended with the path that its notebook has here."""
    result = played.result
    if result is None:
        return played
    own = Path(result.notebook).parent
    notebook = folder / own.parent.name / own.name / NOTEBOOK
    return replace(played, result=replace(result, notebook=str(notebook)))


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of an attempt into its folder. Raises `SandboxError`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise SandboxError(f"{folder} cannot be written: {error}") from error


# ── on the node ───────────────────────────────────────────────────────────────────────────


def play_there(plan: Plan, folder: str, suite: str, digest: str) -> Sent:
    """Play an episode on a node; whatever fails is a value.

    Args:
        plan: the episode.
        folder: the attempt's folder, as the driver sees it.
        suite: the suite's folder, as the driver sees it.
        digest: see `digest_of`.
    """
    host = socket.gethostname()
    try:
        prepare_tasks([plan.config], lambda *_: None)
    except KernelEnvError as error:
        return Sent(played=refused(error, host), archive=None)
    if sees(Path(suite), digest):
        with registered(Path(suite)):
            played = asyncio.run(awake(play_once(plan, Path(folder), host=host)))
        return Sent(played=played, archive=None)
    own = temporary.folder()
    try:
        played = asyncio.run(awake(play_once(plan, own, host=host)))
        return Sent(played=played, archive=packed(own))
    finally:
        temporary.remove(own)


async def awake(episode: Coroutine[Any, Any, Played]) -> Played:
    """Play an episode while the event loop wakes up often.

    Ray cancels by a simulated signal, which a loop that waits for files does not notice.
    """
    playing = asyncio.ensure_future(episode)
    try:
        while not playing.done():
            await asyncio.wait({playing}, timeout=TICK_S)
    finally:
        playing.cancel()
        await asyncio.wait({playing})
    return playing.result()


def sees(suite: Path, digest: str) -> bool:
    """Return whether this machine sees the suite's folder."""
    try:
        return digest_of(suite) == digest
    except OSError:
        return False


def packed(folder: Path) -> bytes:
    """Return the files below a folder as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        files.add(folder, arcname=".")
    return buffer.getvalue()
