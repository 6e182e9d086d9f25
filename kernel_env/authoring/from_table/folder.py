"""Create a new task's folder completely, or leave nothing behind."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from kernel_env import temporary
from kernel_env.authoring.from_table import class_folders, notebook, pages, program
from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.pages import NOTHING_KNOWN, Facts
from kernel_env.authoring.reference import leaderboard
from kernel_env.errors import TaskError, UsageError
from kernel_env.grading.host import Grader
from kernel_env.grading.leaderboard import DECIMALS
from kernel_env.tasks import Task, spec
from kernel_env.tasks.prepare import Prepared, grading_spec, prepare, prepared_folder

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "Public", "Private")
MIN_PART_ROWS = 10
"""The least number of rows in each part."""


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task folder that `make` has created."""

    folder: Path
    """The path of the task folder."""
    entries: int
    """The number of entries of its leaderboard."""
    left_out: dict[str, str]
    """Why reference pipelines are not on it, by their names: the data do not fit them."""
    why_no_pipelines: str
    """Why the leaderboard has only the constant answer; empty: the reference pipelines ran."""


async def make(
    design: Design,
    table: "pd.DataFrame",
    into: Path,
    *,
    sandbox: str = "auto",
    with_pipelines: bool = True,
    facts: Facts = NOTHING_KNOWN,
) -> NewTask:
    """Write a draft folder, prepare it, run the reference pipelines, and move it into place.

    After an error nothing is left behind.

    Args:
        design: the task's design.
        table: the table as `table.read` returns it.
        into: the folder that contains the task folders.
        sandbox: the name of the sandbox that runs the reference pipelines.
        with_pipelines: whether to run the reference pipelines.
        facts: what the table does not say.

    Raises:
        UsageError: the folder exists already, or cannot be written.
        TaskError: the design does not make a valid task.
        SandboxError: the sandbox failed.
    """
    folder = check_is_new(into, design.name)
    left_out: dict[str, str] = {}
    why_no_pipelines = "" if with_pipelines else "--no-population was given"
    with drafted(folder) as draft:
        preliminary = write(design, table, draft, facts)
        with prepared_anew(preliminary) as first:
            task = describe(design, preliminary, first, facts)
        with prepared_anew(task, keep=True) as prepared:
            entries = [await constant_entry(task, prepared)]
            if with_pipelines:
                try:
                    found = await leaderboard.run_reference_pipelines(task, sandbox)
                    entries, left_out = found.entries, found.left_out
                except TaskError as error:
                    why_no_pipelines = str(error)
            leaderboard.write(task, entries)
            spec.load(draft)
    return NewTask(
        folder=folder,
        entries=len(entries),
        left_out=left_out,
        why_no_pipelines=why_no_pipelines,
    )


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """Yield where to write a folder, which comes into its place at the end of the block.

    After an error nothing is left of it, and what a killed process left of it is removed. Raises
    `UsageError` if it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for draft in folder.parent.glob(f".{folder.name}-*-*"):
            pid = draft.name.rsplit("-", 2)[1]
            if pid.isdigit() and not temporary.process_runs(int(pid)):
                shutil.rmtree(draft, ignore_errors=True)
        prefix = f".{folder.name}-{os.getpid()}-"
        parent = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    except OSError as error:
        raise UsageError(f"{folder.parent} cannot be written: {error.strerror}") from error
    try:
        yield parent / folder.name
        (parent / folder.name).rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def prepared_anew(task: Task, *, keep: bool = False) -> Iterator[Prepared]:
    """Prepare a task for a block, and remove what that added to the cache.

    Args:
        task: the task.
        keep: whether it stays in the cache unless the block fails.
    """
    cached = prepared_folder(task)
    was_there = cached.exists()
    try:
        yield prepare(task)
    except BaseException:
        keep = False
        raise
    finally:
        if not (was_there or keep):
            shutil.rmtree(cached, ignore_errors=True)


def check_is_new(into: Path, name: str) -> Path:
    """Return the path of a new task folder. Raises `UsageError` if something is there."""
    folder = (into / name).absolute()
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already; remove it, or choose another name")
    return folder


def write(
    design: Design, table: "pd.DataFrame", folder: Path, facts: Facts = NOTHING_KNOWN
) -> Task:
    """Write all files, with a preliminary description."""
    (folder / "data").mkdir(parents=True)
    if design.has_files:
        data = f"{design.name}.zip"
        class_folders.pack(design.table, table, folder / "data" / data)
    else:
        data = f"{design.name}.csv.xz"
        if design.split.hidden:
            table = table.drop(columns=design.split.hidden)
        if design.families is not None:
            table = table.assign(**{program.family_column(design): design.families})
        table.to_csv(folder / "data" / data, index=False, lineterminator="\n")
    sha256 = hashlib.sha256((folder / "data" / data).read_bytes()).hexdigest()
    texts = {
        "task.toml": pages.task_toml(design, data, sha256, facts),
        "prepare.py": program.prepare_py(design, data),
        "description.md": f"# {pages.title(design)}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    nbformat.write(notebook.solution(design), folder / "solution.ipynb")
    return spec.load(folder)


def describe(design: Design, task: Task, prepared: Prepared, facts: Facts = NOTHING_KNOWN) -> Task:
    """Write the description, which contains numbers of rows, after the data is prepared.

    Raises:
        TaskError: a part of the split has too few rows, or lacks a class.
    """
    import pandas as pd

    answers = pd.read_csv(prepared.answers, dtype=str, keep_default_na=False)
    train = pd.read_csv(
        prepared.public / "train.csv", dtype=str, keep_default_na=False, usecols=[design.target]
    )
    parts = {
        "train": list(train[design.target]),
        **{u: list(answers[design.target][answers["Usage"] == u]) for u in PARTS[1:]},
    }
    for name, targets in parts.items():
        if len(targets) < MIN_PART_ROWS:
            raise TaskError(
                f"the {design.split.method} split gives the part {name} {len(targets)} rows; it"
                f" needs at least {MIN_PART_ROWS}: choose another --split"
            )
        missing = sorted(set(design.classes) - set(targets))
        if missing and (name == "train" or design.kind == "binary classification"):
            raise TaskError(
                f"the {design.split.method} split leaves the part {name} without the class"
                f" {missing[0]!r}; choose another --split"
            )
    sample = (prepared.public / "sample_submission.csv").read_text(encoding="utf-8")
    text = pages.description_md(
        design,
        facts,
        train=len(train),
        test=len(answers),
        sample="\n".join(sample.splitlines()[:4]),
        public=len(parts["Public"]),
    )
    (task.folder / "description.md").write_text(text, encoding="utf-8")
    return spec.load(task.folder)


async def constant_entry(task: Task, prepared: Prepared) -> leaderboard.Entry:
    """Grade the sample submission, which has the same value in every row, as an entry."""
    data = (prepared.public / "sample_submission.csv").read_bytes()
    async with Grader() as grader:
        scores = await grader.grade(data, grading_spec(task, prepared), ("Public", "Private"))
    assert scores.public is not None
    assert scores.private is not None
    return leaderboard.Entry(
        entry="constant",
        public_score=round(scores.public, DECIMALS),
        private_score=round(scores.private, DECIMALS),
        seed=0,
        runtime_s=0.0,
    )
