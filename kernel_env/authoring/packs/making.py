"""Make one task of a pack: read its files, change the table, write the folder."""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_env import temporary
from kernel_env.authoring import from_table
from kernel_env.authoring.from_table import class_folders
from kernel_env.authoring.from_table import folder as folders
from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.folder import drafted, prepared_anew
from kernel_env.authoring.from_table.pages import Facts
from kernel_env.authoring.packs import picture_folders, readers, shipped, steps, wheels
from kernel_env.authoring.packs.manifest import Pack, TaskSection
from kernel_env.authoring.packs.shipped import board_file, facts_file
from kernel_env.authoring.reference import leaderboard
from kernel_env.tasks import Task, spec
from kernel_env.tasks.prepare import prepare, sha256_of

if TYPE_CHECKING:
    import pandas as pd

KEY = "pack-key"
"""The file in a task folder with the hash of what it was made of."""
FORM = 2
"""The form of the task folders. A higher number makes all anew."""
NOTICE = """\
The data of this task come from the package {packages} of the package index.

Source: {source}
Licence: {licence}

What was changed: columns and rows were chosen and renamed as the manifest of the pack {pack} says;
the split is made by prepare.py.
"""


def read_table(task: TaskSection, name: str, pack: Pack) -> "pd.DataFrame":
    """Return the table of a task, all cells text.

    Raises:
        DownloadError: a wheel or a file in it is missing or changed.
        TaskError: a file has another form, or a step does not fit the table.
    """
    sources = []
    for source in task.sources:
        wheel = wheels.obtain(source.wheel, pack.file.wheel[source.wheel])
        sources.append((source, readers.read(source, wheels.read_files(wheel, source))))
    return steps.apply(task, name, steps.combine(sources))


def make(pack: Pack, name: str, in_sets: Sequence[str], into: Path) -> Path:
    """Make a task's folder, or nothing. An older one is replaced.

    Args:
        pack: the pack.
        name: the task's name.
        in_sets: the sets that the task is in.
        into: the folder that gets the task folder.

    Returns:
        The path of the task folder.

    Raises:
        DownloadError: a wheel or a file in it is missing or changed.
        TaskError: the manifest does not fit the files.
        UsageError: the folder cannot be written.
    """
    task = pack.file.task[name]
    table = read_table(task, name, pack)
    if not picture_folders.has_pictures(task):
        design = design_of_table(task, name, table)
        return write_folder(pack, name, in_sets, into, design, table)
    with tempfile.TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as pictures:
        design, table = design_of_pictures(task, name, pack, table, Path(pictures))
        return write_folder(pack, name, in_sets, into, design, table)


def design_of_table(task: TaskSection, name: str, table: "pd.DataFrame") -> Design:
    """Choose what the manifest leaves open. Raises `UsageError`."""
    return from_table.design(
        name,
        Path(name),
        table,
        target=task.targets,
        metric=task.metric,
        split=task.split.option() if task.split else "random",
        domain=task.domain,
        event=task.event,
    )


def design_of_pictures(
    task: TaskSection, name: str, pack: Pack, table: "pd.DataFrame", folder: Path
) -> "tuple[Design, pd.DataFrame]":
    """Write the pictures into a folder for each class, and design the task as of such folders.

    Raises:
        TaskError: the manifest asks for what pictures do not have, or a file is no picture.
        UsageError: no valid task is possible.
    """
    picture_folders.check(task)
    files: dict[str, bytes] = {}
    for source in task.sources:
        wheel = wheels.obtain(source.wheel, pack.file.wheel[source.wheel])
        files |= wheels.read_files(wheel, source)
    found = picture_folders.write(task, table, files, folder)
    design = class_folders.design_task(
        name, folder, found, target=task.targets[0], metric=task.metric
    )
    return design, found.table


def write_folder(
    pack: Pack,
    name: str,
    in_sets: Sequence[str],
    into: Path,
    design: Design,
    table: "pd.DataFrame",
) -> Path:
    """Write the folder of a task that is designed; see `make`."""
    task = pack.file.task[name]
    facts = Facts(
        summary=task.summary,
        about=task.about or task.summary,
        meanings=task.columns,
        pack=pack.name,
        sets=tuple(in_sets),
        licence=task.licence,
        source=task.source,
        minutes=task.minutes,
    )
    target = into / name
    with drafted(target) as draft:
        task_made = folders.write(design, table, draft, facts)
        write_notice(pack, task, draft)
        with prepared_anew(task_made) as prepared:
            task_made = folders.describe(design, task_made, prepared, facts)
        write_board(pack, task_made)
        (draft / KEY).write_text(key(pack, name, in_sets), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
    return target


def key(pack: Pack, name: str, in_sets: Sequence[str] = ()) -> str:
    """Return the hash of all that a task folder is made of; without sets, of all that matters."""
    task = pack.file.task[name]
    board = board_file(pack, name)
    parts = {
        "form": FORM,
        "pack": pack.name,
        "task": task.model_dump(mode="json"),
        "wheels": {s.wheel: pack.file.wheel[s.wheel].version for s in task.sources},
        "sets": list(in_sets),
        "board": sha256_of(board) if board.is_file() else "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_made(pack: Pack, name: str, in_sets: Sequence[str], into: Path) -> bool:
    """Return whether a task's folder is there, made of what the pack says now."""
    path = into / name / KEY
    return path.is_file() and path.read_text(encoding="utf-8") == key(pack, name, in_sets)


def write_notice(pack: Pack, task: TaskSection, folder: Path) -> None:
    """Write the origin and the licence of a task's data."""
    packages = sorted({f"{s.wheel} {pack.file.wheel[s.wheel].version}" for s in task.sources})
    text = NOTICE.format(
        packages=" and ".join(packages), source=task.source, licence=task.licence, pack=pack.name
    )
    (folder / "NOTICE").write_text(text, encoding="utf-8")


# ── boards ────────────────────────────────────────────────────────────────────────────────


def write_board(pack: Pack, task: Task) -> None:
    """Copy the board that the pack ships, if it does.

    Raises:
        TaskError: the board is not in the form of a leaderboard.
    """
    path = board_file(pack, task.id)
    if path.is_file():
        shutil.copyfile(path, task.folder / "leaderboard.csv")
        spec.load(task.folder)


def facts_of(task: Task) -> shipped.Facts:
    """Return what is known of a task that is made and has a board.

    Raises:
        TaskError: the task cannot be prepared.
    """
    import pandas as pd

    prepared = prepare(task)
    columns = pd.read_csv(prepared.public / "test.csv", nrows=0).columns
    with (task.folder / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        seconds = [float(row["runtime_s"]) for row in csv.DictReader(file)]
    return shipped.Facts(
        task=task.id,
        domain=task.file.domain,
        kind=task.file.kind,
        metric=task.file.metric.name,
        rows=len(pd.read_csv(prepared.public / "train.csv", usecols=[columns[0]])),
        test_rows=len(pd.read_csv(prepared.answers, usecols=[columns[0]])),
        columns=len(columns) - 1,
        entries=len(seconds),
        seconds=round(sum(seconds), 1),
    )


def write_facts(pack: Pack, into: Path) -> int:
    """Write the facts of the tasks of a pack that are made and have a board.

    Those of other tasks stay. Returns the number of tasks with facts.

    Raises:
        TaskError: a task cannot be prepared, or the facts have another form.
    """
    made = [
        spec.load(into / name)
        for name in pack.file.task
        if board_file(pack, name).is_file() and (into / name / "leaderboard.csv").is_file()
    ]
    return shipped.update_rows(pack, facts_file(pack), map(facts_of, made), shipped.Facts)


async def make_board(pack: Pack, task: Task, sandbox: str) -> leaderboard.Results:
    """Run the reference pipelines on a task, and write the board into the pack and the task.

    Raises:
        TaskError: no pipeline fits the task.
        SandboxError: the sandbox failed.
    """
    found = await leaderboard.run_reference_pipelines(task, sandbox)
    path = leaderboard.write(task, found.entries)
    target = board_file(pack, task.id)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return found
