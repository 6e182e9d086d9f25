"""Find the NVIDIA GPUs of this machine, select some of them, and hold them for an episode.

GPUs are listed by `nvidia-smi` and passed on by their UUIDs, which mean the same to Docker, to CUDA
and to `nvidia-smi`; CUDA may number devices in another order. A set CUDA_VISIBLE_DEVICES restricts
which of them are used, as it does for any CUDA program.

A GPU serves one episode and its forks at a time. A lock on a file per GPU ensures that, also
between processes of one user; the system releases it when a process ends, in whatever way.
"""

import asyncio
import os
import shutil
import subprocess
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache as cached

from kernel_env import cache
from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.sandbox.locks import try_lock, unlock

PROGRAM_FOLDERS = ("/usr/local/nvidia/bin", "/usr/lib/wsl/lib")
"""Where `nvidia-smi` is on systems that do not have it in PATH."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
LIST_S = 60
"""Time limit for `nvidia-smi`, which initialises the driver if no other program uses it."""
POLL_S = 0.2


class WaitingForGpuWarning(UserWarning):
    """All suitable GPUs are held by other episodes, so this one waits."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU of this machine."""

    index: int
    """Its number in the list of `nvidia-smi`."""
    uuid: str
    model: str
    memory_mb: int
    """MiB."""

    def __str__(self) -> str:
        """Describe it, for example `NVIDIA H200 with 140 GiB`."""
        return f"{self.model} with {self.memory_mb / 1024:.0f} GiB"


def program() -> str | None:
    """Return the path of `nvidia-smi`; None if this machine has none."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *PROGRAM_FOLDERS])
    return shutil.which("nvidia-smi", path=path)


def present() -> tuple[Gpu, ...]:
    """List the GPUs of this machine that this process may use.

    Raises `SandboxError` if there is a driver that does not work.
    """
    listing = program()
    found = list_with(listing) if listing else ()
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return found
    return tuple(gpu for name in visible.split(",") for gpu in found if is_named(gpu, name.strip()))


@cached
def list_with(listing: str) -> tuple[Gpu, ...]:
    """List all GPUs with this `nvidia-smi`, once per process."""
    fields = "index,uuid,memory.total,name"
    try:
        done = subprocess.run(
            [listing, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=LIST_S,
            check=False,
        )
        if done.returncode == 0:
            return tuple(parse(line) for line in done.stdout.splitlines() if line.strip())
        reason = (done.stdout + done.stderr).strip().partition("\n")[0]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise SandboxError(f"the GPUs of this machine cannot be listed: {listing}: {reason}")


def parse(line: str) -> Gpu:
    """Parse a line of `nvidia-smi`. Raises `ValueError`."""
    index, uuid, memory, model = (part.strip() for part in line.split(",", 3))
    return Gpu(index=int(index), uuid=uuid, model=model, memory_mb=int(memory))


def is_named(gpu: Gpu, name: str) -> bool:
    """Return whether a name, an index or a UUID, means this GPU."""
    return name in (str(gpu.index), gpu.uuid)


def check_request(count: int | None, names: Sequence[str]) -> None:
    """Check what is asked for, on any machine. Raises `UsageError`."""
    if count is not None and (count < 0 or isinstance(count, bool)):
        raise UsageError(f"the number of GPUs is {count}; it must be 0 or more")
    if names and count not in (None, len(names)):
        raise UsageError(
            f"{counted(count or 0)} asked for, and {counted(len(names))} named"
            f" ({','.join(names)}); give one of the two, or equal numbers"
        )


def select(count: int | None, names: Sequence[str]) -> tuple[Gpu, ...]:
    """Return the GPUs of which an episode may get `count`: the named ones, or all.

    Args:
        count: how many are asked for; None for all that are named.
        names: indices or UUIDs; empty for any.

    Raises `UsageError` if there are not as many, and `SandboxError`.
    """
    check_request(count, names)
    if not names and not count:
        return ()
    found = present()
    chosen = tuple(named(found, name) for name in names)
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"the GPUs {','.join(names)} name one device twice; name each once")
    if not chosen and count is not None and count > len(found):
        listed = f"{len(found)}: {describe(found)}" if found else "none"
        within = f" in {VISIBLE}={os.environ[VISIBLE]}" if VISIBLE in os.environ else ""
        raise UsageError(f"{counted(count)} asked for, and this machine has {listed}{within}")
    return chosen or found


def names_in(text: str) -> list[str]:
    """Split names that are separated by commas."""
    return [name for part in text.split(",") if (name := part.strip())]


def named(found: Sequence[Gpu], name: str) -> Gpu:
    """Return the GPU of that name. Raises `UnknownName`."""
    for gpu in found:
        if is_named(gpu, name):
            return gpu
    raise UnknownName("GPU", name, [str(gpu.index) for gpu in found])


def counted(count: int) -> str:
    """Return the subject of a sentence on a number of GPUs."""
    return "1 GPU is" if count == 1 else f"{count} GPUs are"


def describe(gpus: Sequence[Gpu]) -> str:
    """Describe some GPUs, for example `0 (NVIDIA H200 with 140 GiB)`."""
    return ", ".join(f"{gpu.index} ({gpu})" for gpu in gpus)


@asynccontextmanager
async def hold(candidates: Sequence[Gpu], count: int) -> AsyncIterator[tuple[Gpu, ...]]:
    """Hold `count` of the candidates, which nobody else gets meanwhile; wait for free ones.

    All are taken at once or none, so that two that wait cannot wait for each other. Without
    candidates nothing is held: the sandbox has GPUs of its own, or none are asked for.
    """
    locks: dict[Gpu, int] = {}
    warned = False
    try:
        while candidates and not lock_some(candidates, count, locks):
            if not warned:
                warned = True
                warnings.warn(
                    f"{counted(count)} asked for, and too few are free of {describe(candidates)};"
                    " waiting until another episode ends",
                    WaitingForGpuWarning,
                    stacklevel=2,
                )
            await asyncio.sleep(POLL_S)
        yield tuple(locks)
    finally:
        release(locks)


def lock_some(candidates: Sequence[Gpu], count: int, locks: dict[Gpu, int]) -> bool:
    """Lock `count` of the candidates, or none; return whether there were enough.

    Raises `UsageError` if the cache cannot be written.
    """
    folder = cache.folder() / "gpus"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for gpu in candidates:
            if len(locks) < count and (lock := try_lock(folder / gpu.uuid)) is not None:
                locks[gpu] = lock
    except OSError as error:
        raise UsageError(f"GPUs cannot be locked in {folder}: {error.strerror}") from error
    if len(locks) < count:
        release(locks)
        return False
    return True


def release(locks: dict[Gpu, int]) -> None:
    """Release all locks, also where a forked process has inherited a descriptor."""
    while locks:
        _, descriptor = locks.popitem()
        unlock(descriptor)
