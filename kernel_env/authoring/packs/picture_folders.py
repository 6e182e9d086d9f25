"""Lay out the pictures of a source in a folder for each class, as `tasks new` takes them."""

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kernel_env.authoring.from_table.class_folders import PICTURES, ClassFolders
from kernel_env.authoring.packs.manifest import TaskSection
from kernel_env.errors import TaskError

if TYPE_CHECKING:
    import pandas as pd

FILE = "file"
"""The column of a file's path in the wheel."""
CLASS_NAME = re.compile(r"[\w][\w .+-]*")
"""A class that can be the name of a folder."""


def has_pictures(task: TaskSection) -> bool:
    """Return whether the rows of a task are pictures in files."""
    return any(source.reader == "pictures" for source in task.sources)


def check(task: TaskSection) -> None:
    """Raise `TaskError` for choices that a task of pictures does not have."""
    if task.split is not None or len(task.targets) > 1 or task.event is not None:
        raise TaskError("a task of pictures has one target and no split, family or event")


def write(
    task: TaskSection, table: "pd.DataFrame", files: dict[str, bytes], folder: Path
) -> ClassFolders:
    """Write the picture of each row of a table into the folder of its class.

    Args:
        task: the task's section.
        table: the rows that the steps left, with the paths of their pictures.
        files: the pictures by their paths.
        folder: an empty folder.

    Returns:
        What `class_folders.read` returns of that folder.

    Raises:
        TaskError: a step removed the paths, a file is no picture, or a class no name of a folder.
    """
    import pandas as pd

    if FILE not in table:
        raise TaskError(f"the steps drop the column {FILE!r}, which names the pictures")
    (target,) = task.targets
    names = []
    for number, (path, label) in enumerate(zip(table[FILE], table[target], strict=True)):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in PICTURES:
            raise TaskError(f"{path} has another suffix than {', '.join(PICTURES)}")
        if not CLASS_NAME.fullmatch(label):
            raise TaskError(f"the class {label!r} of {path} cannot be the name of a folder")
        name = f"{label}/{number:06}{suffix}"
        (folder / label).mkdir(exist_ok=True)
        (folder / name).write_bytes(files[path])
        names.append(name)
    found = pd.DataFrame({FILE: names, target: table[target].to_list()})
    return ClassFolders(content="pictures", table=found)
