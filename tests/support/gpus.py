"""GPUs where there are none: a program `nvidia-smi`, and a device with a GPU's name."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from kernel_env.sandbox import gpus

GPU = "/dev/nvidia0"
GPU_DEVICES = {PurePosixPath(GPU): Path("/dev/zero")}
"""Devices of a container: one that programs can open, read and map, under the name of a GPU."""
LIBRARY_PATH = "/usr/local/nvidia/lib64"


def install_gpus(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give this machine GPUs, as far as `nvidia-smi` can tell, and return their UUIDs.

    Args:
        folder: where to write the program; its name makes the UUIDs unique.
        count: how many there are.
        monkeypatch: restores the environment.
    """
    uuids = [f"GPU-{folder.name}-{number}" for number in range(count)]
    rows = [f"{n}, {uuid}, 81559, NVIDIA H100 80GB HBM3\n" for n, uuid in enumerate(uuids)]
    install_nvidia_smi(folder, "cat <<END\n" + "".join(rows) + "END\n", monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", LIBRARY_PATH)
    return uuids


def install_nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program named `nvidia-smi` first in PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


async def wait_for_gpus(
    candidates: Sequence[gpus.Gpu], count: int
) -> asyncio.Task[tuple[gpus.Gpu, ...]]:
    """Try to hold GPUs that are held already; return once somebody waits for them."""
    waiting = asyncio.create_task(gpus.hold(candidates, count).__aenter__())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    return waiting
