"""Where tasks are: the ones that come with the package, and folders of your own.

The environment variable KERNEL_ENV_TASKS names further folders of task folders,
separated like PATH. `kernel-env tasks import` adds tasks of other benchmarks, in the cache. A path
is accepted wherever a task's name is.
"""

import os
from pathlib import Path

from kernel_env import cache
from kernel_env.errors import UnknownName
from kernel_env.tasks import spec
from kernel_env.tasks.spec import Task


def imported() -> Path:
    """The folder of the tasks that were imported from other benchmarks."""
    return cache.folder() / "imported"


def folders() -> list[Path]:
    """The folders that are searched, in order."""
    package = Path(__file__).parents[1]
    bundled = package / "_tasks"
    ours = bundled if bundled.is_dir() else package.parent / "tasks"
    theirs = os.environ.get("KERNEL_ENV_TASKS", "").split(os.pathsep)
    return [*(Path(folder).expanduser() for folder in theirs if folder), ours, imported()]


def found() -> dict[str, Path]:
    """Every task's folder by its name; the first folder searched wins."""
    tasks: dict[str, Path] = {}
    for folder in folders():
        if folder.is_dir():
            for path in sorted(folder.glob("*/task.toml")):
                tasks.setdefault(path.parent.name, path.parent)
    return tasks


def folder_of(name: str) -> Path:
    """The folder of the task of this name, or this folder. Raises `UnknownName`."""
    tasks = found()
    if name in tasks:
        return tasks[name]
    if os.sep in name or Path(name).is_dir():
        return Path(name).expanduser().resolve()
    raise UnknownName("task", name, tasks)


def find(name: str) -> Task:
    """The task of this name, or in this folder. Raises `UnknownName` and `TaskError`."""
    return spec.load(folder_of(name))
