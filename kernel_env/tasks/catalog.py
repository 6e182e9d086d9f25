"""Find tasks: the ones that the package contains, imported ones, and folders of the operator.

The environment variable KERNEL_ENV_TASKS names more folders that contain task folders, separated
like PATH. `kernel-env tasks import` puts tasks of other benchmarks into the cache, `tasks pack`
those of a pack. A task folder's path is accepted wherever a task's name is.

A folder of task folders can contain `packs`, whose sub-folders each hold a pack's manifest.
"""

import os
from pathlib import Path

from kernel_env import cache
from kernel_env.errors import UnknownName, UsageError
from kernel_env.tasks import spec
from kernel_env.tasks.spec import Task

PACK_FILE = "pack.toml"
"""The name of a pack's manifest."""


def imported_folder() -> Path:
    """Return the folder of the tasks that were imported from other benchmarks."""
    return cache.folder() / "imported"


def packed_folder() -> Path:
    """Return the folder with a sub-folder for the tasks of each pack."""
    return cache.folder() / "packs"


def bundled_folder() -> Path:
    """Return the folder of the tasks that the package contains."""
    package = Path(__file__).parents[1]
    installed = package / "_tasks"
    return installed if installed.is_dir() else package.parent / "tasks"


def search_path() -> list[Path]:
    """Return the folders that are searched for tasks, in order."""
    packed = sorted(packed_folder().glob("*/")) if packed_folder().is_dir() else []
    return [*configured_folders(), bundled_folder(), imported_folder(), *packed]


def pack_folder(pack: str) -> Path:
    """Return the folder of the tasks of a pack; it need not exist."""
    return packed_folder() / pack


def packed_tasks() -> dict[str, dict[str, Path]]:
    """Map every pack of which tasks are made to its tasks' folders by name."""
    packs: dict[str, dict[str, Path]] = {}
    for path in sorted(packed_folder().glob("*/*/task.toml")):
        packs.setdefault(path.parents[1].name, {})[path.parent.name] = path.parent
    return packs


def check_made(pack: str) -> None:
    """Check that tasks of a pack are made. Raises `UsageError`, or `UnknownName` for no pack."""
    packs = packed_tasks()
    if pack in packs:
        return
    if pack in pack_manifests():
        raise UsageError(f"no task of {pack} is made; run: kernel-env tasks pack {pack}")
    raise UnknownName("pack", pack, {*packs, *pack_manifests()})


def pack_manifests() -> dict[str, Path]:
    """Map every pack's name to its manifest; the first folder of the search path wins."""
    packs: dict[str, Path] = {}
    for folder in (*configured_folders(), bundled_folder()):
        for path in sorted(folder.glob(f"packs/*/{PACK_FILE}")):
            packs.setdefault(path.parent.name, path)
    return packs


def find_pack(name: str) -> Path:
    """Find a pack's manifest by the pack's name, or by the path of the manifest or its folder.

    Raises:
        UnknownName: there is no such pack.
    """
    packs = pack_manifests()
    if name in packs:
        return packs[name]
    path = Path(name).expanduser()
    path = path / PACK_FILE if path.is_dir() else path
    if path.is_file():
        return path.absolute()
    raise UnknownName("pack", name, packs)


def configured_folders() -> list[Path]:
    """Return the folders that KERNEL_ENV_TASKS names. Raises `UsageError` if one is no folder."""
    names = os.environ.get("KERNEL_ENV_TASKS", "").split(os.pathsep)
    folders = [Path(name).expanduser() for name in names if name]
    for folder in folders:
        if not folder.is_dir():
            fault = "is no folder" if folder.exists() else "does not exist"
            raise UsageError(
                f"KERNEL_ENV_TASKS names {folder}, which {fault}; give folders that contain task"
                f" folders, separated by {os.pathsep!r}"
            )
        if (folder / "task.toml").is_file():
            raise UsageError(
                f"KERNEL_ENV_TASKS names the task folder {folder}; name its parent, {folder.parent}"
            )
    return folders


def task_folders() -> dict[str, Path]:
    """Map every task's name to its folder; the first folder of the search path wins."""
    tasks: dict[str, Path] = {}
    for folder in search_path():
        if folder.is_dir():
            for path in sorted(folder.glob("*/task.toml")):
                tasks.setdefault(path.parent.name, path.parent)
    return tasks


def folder_of(name: str) -> Path:
    """Find the folder of a task by its name or its path. Raises `UnknownName`."""
    tasks = task_folders()
    if name in tasks:
        return tasks[name]
    if os.sep in name or Path(name).is_dir():
        return Path(name).expanduser().resolve()
    raise UnknownName("task", name, tasks)


def find(name: str) -> Task:
    """Load a task by its name or its folder's path. Raises `UnknownName` and `TaskError`."""
    return spec.load(folder_of(name))
