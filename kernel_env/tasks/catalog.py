"""Find tasks: the ones that the package contains, imported ones, and folders of the operator.

The environment variable KERNEL_ENV_TASKS names more folders that contain task folders, separated
like PATH. `kernel-env tasks import` puts tasks of other benchmarks into the cache. A task folder's
path is accepted wherever a task's name is.
"""

import os
from pathlib import Path

from kernel_env import cache
from kernel_env.errors import UnknownName, UsageError
from kernel_env.tasks import spec
from kernel_env.tasks.spec import Task


def imported_folder() -> Path:
    """Return the folder of the tasks that were imported from other benchmarks."""
    return cache.folder() / "imported"


def search_path() -> list[Path]:
    """Return the folders that are searched for tasks, in order."""
    package = Path(__file__).parents[1]
    installed = package / "_tasks"
    bundled = installed if installed.is_dir() else package.parent / "tasks"
    return [*configured_folders(), bundled, imported_folder()]


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
