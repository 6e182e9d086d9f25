"""Say which threads a fork of this process would lack, and why some processes cannot be forked.

A fork has one thread. Most libraries with threads of their own notice that and
start new ones. Those in `BROKEN_POOLS` do not: every later call would wait for ever. A device such
as a GPU does not know forks: each call would fail, and its memory stays allocated as long as any
fork has it open. Kernels that use them are not forked; the host replays cells instead.
"""

import os
import stat
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .descriptors import open_descriptors

BROKEN_POOLS = {
    "polars-": "polars",
    "tokio-": "polars",
    "rayon": "a Rust library",
    "tf_XLA": "jax or tensorflow",
    "tf_": "tensorflow",
    "PTThreadPool": "torch.jit.fork",
}
"""Beginnings of the names of threads that a fork lacks for good, and the library they are of."""
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/", "/dev/dxg", "/dev/accel")
RESTARTED_THREADS = ("QueueFeederThread", "ExecutorManagerThread", "tqdm_monitor")
"""Threads that their library starts again when a fork needs them."""
MAX_NAMES = 10
"""Most threads that are named."""


def unforkable_reason() -> str:
    """Return why this process cannot be forked now; empty if it can."""
    if device := open_gpu():
        return f"the kernel uses a GPU ({device}), which no copy of it could use"
    for name in native_threads():
        for beginning, library in BROKEN_POOLS.items():
            if name.startswith(beginning):
                return f"the threads of {library} ({name}) would be missing in a copy of the kernel"
    return ""


def open_gpu() -> str:
    """Return the path of a GPU device that is open; empty if none is."""
    for descriptor in open_descriptors():
        try:
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                if path.startswith(GPU_DEVICES):
                    return path
        except OSError:
            continue
    return ""


def native_threads() -> Iterator[str]:
    """Yield the names of the threads that Python did not start."""
    known = {thread.native_id for thread in threading.enumerate()}
    try:
        for thread in os.listdir("/proc/self/task"):
            if int(thread) not in known:
                with open(f"/proc/self/task/{thread}/comm", encoding="utf-8") as file:
                    yield file.read().strip()
    except (OSError, ValueError):
        return


def lost_threads(own_threads: set[Any]) -> list[str]:
    """Return the names of the agent's threads, which a fork lacks; pools start theirs again."""
    pools: Any = sys.modules.get("concurrent.futures.thread")
    not_lost = {threading.main_thread(), *own_threads, *(pools._threads_queues if pools else ())}
    names = [
        thread.name[:60]
        for thread in threading.enumerate()
        if thread not in not_lost and not thread.name.startswith(RESTARTED_THREADS)
    ]
    return names[:MAX_NAMES]
