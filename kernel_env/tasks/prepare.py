"""Make a task ready, once: raw files → what the agent sees and what only the grader sees.

The result lives in a cache folder named by the content it was made from, so a
changed task is prepared anew and an unchanged one never again. `prepare.py` is the
task author's code; it runs in a process of its own.
"""

import csv
import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernel_env import cache
from kernel_env.errors import TaskError
from kernel_env.tasks import catalog, kaggle, spec
from kernel_env.tasks.spec import Task

if TYPE_CHECKING:
    from kernel_env.grading.host import GradingSpec

SECONDS = 1800
"""A prepare function that takes longer is stopped."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task's data, ready to be used."""

    public: Path
    """The folder that the agent sees as /data."""
    answers: Path
    """CSV: ids, targets and `Usage` (Public or Private); the folder of whatever answers there are
    where the task's `grade.py` reads submissions itself. Never enters a box."""


def prepared_folder(task: Task) -> Path:
    """Where this very content of the task is, or will be, prepared."""
    made_from = hashlib.sha256()
    for name in ("prepare.py", "description.md"):
        made_from.update((task.folder / name).read_bytes())
    made_from.update(json.dumps(task.file.raw, sort_keys=True).encode())
    made_from.update(json.dumps(task.scoring.form.columns).encode())
    if task.file.kaggle:
        made_from.update(task.file.kaggle.model_dump_json().encode())
    if task.file.origin:
        made_from.update(os.fsencode(task.raw))
    return cache.folder() / "tasks" / f"{task.id}-{made_from.hexdigest()[:16]}"


def is_prepared(task: Task) -> bool:
    """Whether the data is there. Costs no more than a look."""
    return (prepared_folder(task) / "checksums.json").is_file()


def missing(task: Task) -> str:
    """What has to be there before a task can be used; empty when nothing has."""
    if task.file.origin is not None:
        return "" if is_prepared(task) or task.raw.exists() else "its data"
    if task.file.kaggle is None:
        return ""
    theirs = f"of the Kaggle competition {task.file.kaggle.competition}"
    if not (is_prepared(task) or kaggle.is_whole(task.raw.parent)):
        return f"the data {theirs}"
    return "" if task.leaderboard.public else f"the leaderboard {theirs}"


def readiness(task: Task) -> Literal["yes", "first use", "download", "needs data"]:
    """Whether a task can be used at once, or what comes before, at no more than a look."""
    if missing(task):
        return "needs data" if task.file.origin else "download"
    return "yes" if is_prepared(task) else "first use"


def prepare(task: Task) -> Prepared:
    """The task's data, made now if this content has never been prepared.

    Raises `TaskError` when a raw file is not here or not the one that task.toml names, when the
    prepare function fails, when what it made is not what it should be, or when the cached files
    changed. Nothing is downloaded here: `obtain` does that, and only where the operator asks.
    """
    folder = prepared_folder(task)
    if what := missing(task):
        raise TaskError(f"{task.id} needs {what}, which is not here; {howto(task)}")
    if not is_prepared(task):
        check_raw(task)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=f".{task.id}-", dir=folder.parent))
        except OSError as error:
            raise TaskError(f"{folder.parent} cannot be written: {error.strerror}") from error
        try:
            make(task, making)
            try:
                making.rename(folder)
            except OSError:
                if not is_prepared(task):  # otherwise another process was quicker
                    raise
        except OSError as error:
            raise TaskError(f"{task.id} cannot be prepared in {making}: {error}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
    check_sizes(folder)
    private = folder / "private"
    answers = private if task.scoring.form.is_free else private / "answers.csv"
    return Prepared(public=folder / "public", answers=answers)


def grading_spec(task: Task, prepared: Prepared) -> "GradingSpec":
    """How submissions of a task are marked."""
    from kernel_env.grading.host import GradingSpec

    return GradingSpec(
        answers=prepared.answers,
        form=task.scoring.form,
        metric=None if task.grade_file else task.file.metric.name,
        grade_file=task.grade_file,
    )


def obtain(task: Task, tell: kaggle.Progress = kaggle.silent) -> Task:
    """The task with its raw files and its leaderboard here, downloaded now if they were not.

    Raises `DownloadError`, with what to do about it.
    """
    if task.file.origin and task.file.origin.kaggle and missing(task):
        competition = task.file.origin.kaggle
        kaggle.download(competition, kaggle.place(competition), tell)
    if task.file.kaggle is None:
        return task
    competition = task.file.kaggle.competition
    kaggle.download(competition, task.raw.parent, tell)
    if not task.leaderboard.public:
        kaggle.leaderboard(competition, kaggle.board_file(competition), tell)
    return spec.load(task.folder)


def check_raw(task: Task) -> None:
    """Every raw file is the one that was described, or downloaded."""
    for name, wanted in task.file.raw.items():
        check_sum(task.raw / name, wanted, "task.toml wants {}")
    if task.file.kaggle:
        again = f"it was {{}} when it was downloaded; remove {task.raw.parent} and {howto(task)}"
        for name, recorded in kaggle.sums(task.raw.parent).items():
            check_sum(task.raw / name, recorded["sha256"], again)


def check_sum(path: Path, wanted: str, otherwise: str) -> None:
    """A file holds what it should."""
    if not path.is_file():
        raise TaskError(f"{path} is missing; {otherwise.format(f'the sha256 {wanted}')}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise TaskError(f"{path} has the sha256 {found}; {otherwise.format(wanted)}")


def howto(task: Task) -> str:
    """What gets what is missing."""
    if task.file.origin is not None:
        return task.file.origin.todo
    name = task.id if catalog.found().get(task.id) == task.folder else task.folder
    return f"run: kernel-env tasks prepare {name}"


def make(task: Task, folder: Path) -> None:
    """Run the prepare function into a folder and look at what it made."""
    public, private = folder / "public", folder / "private"
    public.mkdir()
    private.mkdir(mode=0o700)
    who = task.folder / "prepare.py"
    argv = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(
            [*argv, who, task.raw, public, private],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise TaskError(f"{who} took longer than {SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        said = said.removeprefix(f"{TaskError.__module__}.{TaskError.__qualname__}: ")
        raise TaskError(f"{who} failed: {said or f'exit code {done.returncode}'}")
    shutil.copyfile(task.folder / "description.md", public / "description.md")
    if not task.scoring.form.is_free:
        columns = task.scoring.form.columns
        check_header(task, public / "sample_submission.csv", columns)
        check_header(task, private / "answers.csv", [*columns, "Usage"])
    private.chmod(0o700)
    folder.chmod(0o755)
    for path in (public, *public.rglob("*")):  # read in the container by another user
        path.chmod(0o755 if path.is_dir() else 0o644)
    sums = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "checksums.json").write_text(json.dumps(sums, indent=1) + "\n")


def check_header(task: Task, path: Path, columns: list[str]) -> None:
    """A CSV file that the prepare function must have written, with these columns."""
    who = task.folder / "prepare.py"
    if not path.is_file():
        raise TaskError(f"{who} wrote no {path.parent.name}/{path.name}")
    with path.open(newline="", encoding="utf-8") as file:
        found = next(csv.reader(file), [])
    if found != columns:
        raise TaskError(
            f"{who} wrote {path.name} with the columns {found}; task.toml wants {columns}"
        )


def check_sizes(folder: Path) -> None:
    """The cached files are still those that were made, by their sizes; `tasks check` reads them."""
    for name, made in json.loads((folder / "checksums.json").read_text()).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != made["bytes"]:
            raise TaskError(f"{path} was changed since it was prepared; remove {folder}")


if __name__ == "__main__":
    prepare_file, *where = sys.argv[1:]
    runpy.run_path(prepare_file)["prepare"](*map(Path, where))
