"""Select tasks by name, folder, domain, source, or the pack and set that they are in."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from kernel_env.errors import TaskError, UnknownName, UsageError
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.spec import Task
from kernel_env.tasks.task_file import TaskFile


def select_tasks(selectors: Sequence[str], base: Path = Path()) -> list[Task]:
    """Return the tasks that selectors name, each once, in an order that only their names decide.

    Args:
        selectors: names, folders (`./NAME`), `domain:NAME`, `source:NAME`, `pack:NAME` or
            `pack:NAME/SET`.
        base: what relative folders are relative to.

    Raises `UsageError`, `TaskError`.
    """
    found: dict[str, Task] = {}
    for selector in selectors:
        for task in selected(selector, base):
            if found.setdefault(task.id, task).folder != task.folder:
                raise UsageError(
                    f"two tasks are named {task.id}: {found[task.id].folder} and {task.folder}"
                )
    return sorted(found.values(), key=lambda task: hashlib.sha256(task.id.encode()).digest())


def selected(selector: str, base: Path) -> list[Task]:
    """Return the tasks of one selector. Raises `UsageError`, `TaskError`."""
    kind, colon, value = selector.partition(":")
    if os.sep in kind:
        return [catalog.find(str(base / Path(selector).expanduser()))]
    if not colon:
        return [catalog.find(selector)]
    attributes = {"domain": domain_of, "source": source_of, "pack": packs_of}
    if kind not in attributes:
        raise UnknownName("selector of tasks", kind, attributes)
    if kind == "pack":
        catalog.check_made(value.partition("/")[0])
    files = {folder: task_file(folder) for folder in catalog.task_folders().values()}
    values = {folder: attributes[kind](file) for folder, file in files.items()}
    if not any(value in each for each in values.values()):
        raise UnknownName(kind, value, set().union(*values.values()))
    return [spec.load(folder) for folder, each in values.items() if value in each]


def task_file(folder: Path) -> TaskFile:
    """Return the content of a task's task.toml. Raises `TaskError`."""
    file, faults = spec.load_file(folder)
    if file is None:
        raise TaskError("; ".join(faults))
    return file


def domain_of(file: TaskFile) -> set[str]:
    """Return the kind of a task's data."""
    return {file.domain}


def source_of(file: TaskFile) -> set[str]:
    """Return the benchmark that a task was imported from."""
    return {file.origin.benchmark} if file.origin else set()


def packs_of(file: TaskFile) -> set[str]:
    """Return the pack that a task was made of, alone and with each set that the task is in."""
    if file.pack is None:
        return set()
    return {file.pack, *(f"{file.pack}/{name}" for name in file.sets)}
