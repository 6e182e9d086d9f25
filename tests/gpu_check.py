"""Check on a machine with a GPU what holds for kernels that use it, and print one line per check.

    make gpu-check PYTHON=/path/to/python3

The interpreter has torch and kernel_env installed; nothing is built or downloaded. Episodes run in
the sandbox `local`. Exits with 1 if a check fails, and with 2 if there is no GPU.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    from kernel_env.sandbox import gpus
except ImportError as missing:
    sys.exit(f"{sys.executable} cannot import kernel_env: {missing}")

TASK = str(Path(__file__).parent / "support" / "tiny")
BUDGET = {"steps": 1000, "seconds": 1200.0, "cell_seconds": 180.0}
SLACK_MB = 256
"""Difference in used memory that is not counted as a leak, MiB."""
FREE_S = 20
"""How long the driver may take to free the memory of a process that has ended."""

DEFINE = """
import os, subprocess, sys, torch
torch.manual_seed(0)
def data():
    x = torch.randn(4096, 256, device="cuda")
    return x, x.sum(1, keepdim=True)
def train(steps):
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()
"""
TRAIN = """
x, y = data()
model = torch.nn.Sequential(
    torch.nn.Linear(256, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1)
).cuda()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
ballast = torch.ones(1 << 30, dtype=torch.uint8, device="cuda")
first, last = train(1), train(200)
print(last < first)
"""
STATE = "print(train(1) < first and ballast.numel() == 1 << 30)"
"""Prints True if the model of `TRAIN` and its optimizer still work on the GPU."""
PROGRAM = "import torch; print(torch.ones(1000, device='cuda').sum().item())"


async def execute(episode: Any, code: str, kind: str = "execute_code") -> Any:
    """Run a cell, and return it."""
    step = await episode.act({"kind": kind, "code": code})
    return step.cell


def text_of(cell: Any) -> str:
    """Return what a cell printed, or its error."""
    if cell.error:
        return f"{cell.error.name}: {cell.error.value}".partition("\n")[0]
    return "".join(output.get("text", "") for output in cell.outputs).strip()


@asynccontextmanager
async def opened(gpu_count: int = 1) -> AsyncIterator[Any]:
    """Open an episode in the local sandbox."""
    from kernel_env import open_episode

    with tempfile.TemporaryDirectory() as folder:
        async with open_episode(
            TASK, sandbox="local", out=folder, budget=BUDGET, gpus=gpu_count
        ) as episode:
            yield episode


def used_mb(gpu: gpus.Gpu) -> int:
    """Return how much of a GPU's memory is allocated, MiB."""
    query = ["--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", gpu.uuid]
    done = subprocess.run([str(gpus.program()), *query], capture_output=True, text=True, check=True)
    return int(done.stdout)


async def falls_to(gpu: gpus.Gpu, limit_mb: int) -> int:
    """Wait until at most so much memory is allocated; return how much is."""
    deadline = time.monotonic() + FREE_S
    while (used := used_mb(gpu)) > limit_mb and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    return used


# ── checks ────────────────────────────────────────────────────────────────────────────────

Check = Coroutine[Any, Any, tuple[bool, str]]


async def device_is_seen(gpu: gpus.Gpu) -> tuple[bool, str]:
    """The GPU is visible where it was asked for, and hidden elsewhere."""
    count = "import torch; print(torch.cuda.device_count())"
    async with opened() as episode:
        seen = text_of(await execute(episode, count))
        name = text_of(await execute(episode, "print(torch.cuda.get_device_name())"))
        told = gpu.model in episode.observation.text or gpu.model in episode.machine_text
    async with opened(0) as episode:
        hidden = text_of(await execute(episode, count))
    ok = (seen, hidden, name, told) == ("1", "0", gpu.model, True)
    return ok, f"{name}; visible: {seen} with a GPU asked for, {hidden} without"


async def kernel_trains(gpu: gpus.Gpu) -> tuple[bool, str]:
    """A model is trained in the kernel."""
    async with opened() as episode:
        await execute(episode, DEFINE)
        before = used_mb(gpu)
        cell = await execute(episode, TRAIN)
        return text_of(cell) == "True", (
            f"{text_of(cell)} in {cell.seconds:.1f} s; {used_mb(gpu) - before} MiB allocated"
        )


async def crash_is_survived(gpu: gpus.Gpu) -> tuple[bool, str]:
    """After a crash the model works on the GPU, and the dead kernel's memory is free."""
    async with opened() as episode:
        await execute(episode, DEFINE)
        await execute(episode, TRAIN)
        before = used_mb(gpu)
        crashed = await execute(episode, "os._exit(1)")
        observation = episode.observation.text
        state = text_of(await execute(episode, STATE))
        used = await falls_to(gpu, before + SLACK_MB)
    recovery = crashed.recovery
    ok = state == "True" and recovery.how == "replay" and used <= before + SLACK_MB
    return ok, (
        f"{state}; {recovery.how} of {recovery.cells} cells in {recovery.seconds:.1f} s;"
        f" {before} MiB before, {used} after; {observation.splitlines()[0]}"
    )


async def trial_works(gpu: gpus.Gpu) -> tuple[bool, str]:
    """validate_code uses variables on the GPU, and leaves them as they were."""
    async with opened() as episode:
        await execute(episode, DEFINE)
        await execute(episode, TRAIN)
        before = used_mb(gpu)
        trial = await execute(episode, f"ballast.zero_()\n{STATE}", "validate_code")
        after = text_of(await execute(episode, "print(bool(ballast.all()))"))
        used = await falls_to(gpu, before + SLACK_MB)
    ok = (text_of(trial), after) == ("True", "True") and used <= before + SLACK_MB
    return ok, f"{text_of(trial)}; kept: {after}; {before} MiB before, {used} after"


async def fork_works(gpu: gpus.Gpu) -> tuple[bool, str]:
    """A fork has the variables on the GPU, and so has its original."""
    async with opened() as episode:
        await execute(episode, DEFINE)
        await execute(episode, TRAIN)
        began = time.perf_counter()
        (child,) = await episode.fork()
        seconds = time.perf_counter() - began
        async with child:
            in_child = text_of(await execute(child, f"ballast.zero_()\n{STATE}"))
        in_parent = text_of(await execute(episode, f"assert ballast.all()\n{STATE}"))
        how = child.setup.header.fork.how
    ok = (in_child, in_parent, how) == ("True", "True", "replay")
    return ok, f"fork: {in_child}, original: {in_parent}; {how} in {seconds:.1f} s"


async def subprocess_keeps_checkpoints(gpu: gpus.Gpu) -> tuple[bool, str]:
    """A kernel whose subprocess used the GPU is restored from its checkpoint."""
    async with opened() as episode:
        program = (
            f"import os, subprocess, sys; kept = 1\nargv = [sys.executable, '-c', {PROGRAM!r}]"
        )
        await execute(episode, program)
        run = "print(kept, subprocess.run(argv, capture_output=True, text=True).stdout)"
        first = text_of(await execute(episode, run))
        crashed = await execute(episode, "os._exit(1)")
        second = text_of(await execute(episode, run))
    recovery = crashed.recovery
    ok = (first, second, recovery.how) == ("1 1000.0", "1 1000.0", "standby")
    return ok, f"{first}, then {second}; {recovery.how} in {1000 * recovery.seconds:.0f} ms"


async def memory_is_given_back(gpu: gpus.Gpu) -> tuple[bool, str]:
    """A reset and the end of an episode free the memory of its kernels."""
    before = used_mb(gpu)
    async with opened() as episode:
        await execute(episode, DEFINE)
        await execute(episode, TRAIN)
        await execute(episode, "os._exit(1)")
        during = used_mb(gpu)
        await episode.act({"kind": "reset"})
        after_reset = await falls_to(gpu, before + SLACK_MB)
        await execute(episode, DEFINE)
        again = text_of(await execute(episode, TRAIN))
    after_end = await falls_to(gpu, before + SLACK_MB)
    ok = again == "True" and max(after_reset, after_end) <= before + SLACK_MB
    return ok, (
        f"{before} MiB before, {during} in use, {after_reset} after the reset, {after_end} at the"
        f" end; trains again: {again}"
    )


CHECKS: tuple[Callable[[gpus.Gpu], Check], ...] = (
    device_is_seen,
    kernel_trains,
    crash_is_survived,
    trial_works,
    fork_works,
    subprocess_keeps_checkpoints,
    memory_is_given_back,
)


async def run_checks(gpu: gpus.Gpu) -> int:
    """Run the checks one after another. Returns how many failed."""
    failures = 0
    for check in CHECKS:
        try:
            ok, detail = await check(gpu)
        except Exception as error:  # noqa: BLE001 - the other checks say more
            ok, detail = False, f"{type(error).__name__}: {error}"
        failures += not ok
        name = check.__name__.replace("_", " ")
        print(f"{'ok' if ok else 'FAILED':7} {name:30} {detail}", flush=True)
    return failures


def main() -> int:
    """Print what this machine has, then the checks. Returns the exit code."""
    found = gpus.present()
    if not found:
        print("no GPU found")
        return 2
    if find_spec("torch") is None:
        print(f"torch is not installed for {sys.executable}")
        return 2
    warnings.simplefilter("ignore")
    print(
        f"GPUs: {gpus.describe(found)}; Python {sys.version.split()[0]}; torch {version('torch')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERNEL_ENV_CACHE"] = folder
        return 1 if asyncio.run(run_checks(found[0])) else 0


if __name__ == "__main__":
    sys.exit(main())
