"""Prepare a task's data once: split the raw files into the agent's data and the answers.

The result is kept in a cache folder whose name contains a hash of the inputs. So a changed task
is prepared again and an unchanged one is not. `prepare.py` is the task author's code; it runs in
a separate process.
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
from kernel_env.errors import SubmissionError, TaskError
from kernel_env.tasks import catalog, environments, kaggle, spec
from kernel_env.tasks.spec import Task
from kernel_env.untrusted_text import escape_line

if TYPE_CHECKING:
    from kernel_env.grading.host import GradingSpec, Interpreter

MODULE = "kernel_env.tasks.prepare"
TIMEOUT_S = 1800
"""The time limit for a prepare function."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task's prepared data on the host."""

    public: Path
    """The folder that the agent sees as /data."""
    answers: Path
    """A CSV file with ids, targets and `Usage` (Public or Private). If the task's `grade.py` reads
    submissions itself: the folder with the answers. It is never visible in a sandbox."""


def prepared_folder(task: Task) -> Path:
    """Return the cache folder for the task's current content; it need not exist yet."""
    digest = hashlib.sha256()
    for name in ("prepare.py", "description.md"):
        digest.update((task.folder / name).read_bytes())
    digest.update(json.dumps(task.file.raw, sort_keys=True).encode())
    digest.update(json.dumps(task.scoring.schema.columns).encode())
    if task.file.kaggle:
        digest.update(task.file.kaggle.model_dump_json().encode())
    if task.file.origin:
        digest.update(os.fsencode(task.raw))
        if environments.interpreter(task.file.origin.code_environment):
            digest.update(environments.digest(task.file.origin.code_environment).encode())
    return cache.folder() / "tasks" / f"{task.id}-{digest.hexdigest()[:16]}"


def is_prepared(task: Task) -> bool:
    """Return whether the task's data is in the cache, without reading it."""
    return (prepared_folder(task) / "checksums.json").is_file()


def missing(task: Task) -> str:
    """Describe what the task still needs from outside; empty if nothing is missing."""
    if task.file.origin is not None:
        return "" if is_prepared(task) or task.raw.exists() else "its data"
    if task.file.kaggle is None:
        return ""
    competition = f"the Kaggle competition {task.file.kaggle.competition}"
    if not (is_prepared(task) or kaggle.is_downloaded(task.raw.parent)):
        return f"the data of {competition}"
    return "" if task.leaderboard.public else f"the leaderboard of {competition}"


def readiness(task: Task) -> Literal["yes", "first use", "download", "needs data"]:
    """Return whether a task can be used at once, or which step is needed first.

    The files are not read, so this is fast enough for a list of all tasks.
    """
    if missing(task):
        return "needs data" if task.file.origin else "download"
    return "yes" if is_prepared(task) else "first use"


def prepare(task: Task) -> Prepared:
    """Return the task's data from the cache; run the prepare function if it is not there.

    Nothing is downloaded: only `obtain` does that, on the operator's request.

    Raises:
        TaskError: a raw file is missing or differs from task.toml, the prepare function fails or
            writes wrong files, or the cached files were changed.
    """
    folder = prepared_folder(task)
    if what := missing(task):
        raise TaskError(f"{task.id} needs {what}, which is not here; {instructions(task)}")
    if not is_prepared(task):
        check_raw(task)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{task.id}-", dir=folder.parent))
        except OSError as error:
            raise TaskError(f"{folder.parent} cannot be written: {error.strerror}") from error
        try:
            run_prepare(task, partial)
            try:
                partial.rename(folder)
            except OSError:
                if not is_prepared(task):  # otherwise another process prepared it first
                    raise
        except OSError as error:
            raise TaskError(f"{task.id} cannot be prepared in {partial}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    check_sizes(folder)
    private = folder / "private"
    answers = private if task.scoring.schema.is_free_form else private / "answers.csv"
    return Prepared(public=folder / "public", answers=answers)


SAMPLES = 4
"""A submission to an imported task can be this many times as large as its sample submission."""


def submission_limit_mb(task: Task, prepared: Prepared) -> float:
    """Return the largest submission that is accepted, in MB.

    Benchmarks have no limit of their own, and few competitions have samples of over 100 MB.
    """
    limit = task.file.submission.limit_mb
    if task.file.origin is None:
        return limit
    for folder in (prepared.public, prepared.answers):
        sample = folder / "sample_submission.csv"
        if sample.is_file():
            return max(limit, SAMPLES * sample.stat().st_size / 1e6)
    return limit


def grading_spec(task: Task, prepared: Prepared) -> "GradingSpec":
    """Build the grading spec for submissions to a task."""
    from kernel_env.grading.host import GradingSpec

    return GradingSpec(
        answers=prepared.answers,
        schema=task.scoring.schema,
        metric=None if task.grade_file else task.file.metric.name,
        metric_column=task.file.metric.column,
        grade_file=task.grade_file,
        interpreter=interpreter(task),
        sample=sample_submission(prepared),
    )


def sample_submission(prepared: Prepared) -> Path | None:
    """Return the path of the sample submission; None if the task has none."""
    name = "sample_submission.csv"  # some benchmarks keep it with the answers
    folders = (prepared.public, prepared.answers)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def interpreter(task: Task) -> "Interpreter | None":
    """Return the Python that a task's code needs; None for this one.

    It is this one as well as long as `obtain` did not make the other.
    """
    origin = task.file.origin
    return environments.interpreter(origin.code_environment) if origin else None


async def try_grader(task: Task, prepared: Prepared) -> str:
    """Let a task's own grader score the sample submission, before an agent depends on it.

    Returns:
        What was found, as text.

    Raises:
        TaskError: the grader fails, for example because a package is missing, or it rejects the
            sample submission.
    """
    from kernel_env.grading.host import Grader

    spec_ = grading_spec(task, prepared)
    sample = prepared.public / "sample_submission.csv"
    if task.grade_file is None or not sample.is_file():
        return ""
    async with Grader() as grader:
        try:
            scores = await grader.grade(sample.read_bytes(), spec_, ("Public", "Private"))
        except SubmissionError as error:
            raise TaskError(f"its grader rejects sample_submission.csv: {error}") from error
    return f"its grader gives sample_submission.csv {scores.private:.6g}"


def obtain(task: Task, progress: kaggle.Progress = kaggle.no_progress) -> Task:
    """Download the raw files and the leaderboard of a task if they are missing.

    Returns:
        The task, loaded again with its leaderboard.

    Raises:
        DownloadError: the download failed; the message tells the operator what to do.
    """
    if task.file.origin and environments.lock_file(task.file.origin.code_environment):
        name = task.file.origin.code_environment
        if not environments.interpreter(name):
            progress(f"{name}: installing the libraries that its code was written for", None)
        environments.make(name)
    if task.file.origin and task.file.origin.kaggle and missing(task):
        competition = task.file.origin.kaggle
        kaggle.download(competition, kaggle.competition_folder(competition), progress)
    if task.file.kaggle is None:
        return task
    competition = task.file.kaggle.competition
    kaggle.download(competition, task.raw.parent, progress)
    if not task.leaderboard.public:
        board = kaggle.leaderboard_file(competition)
        kaggle.download_leaderboard(competition, board, progress)
    return spec.load(task.folder)


def check_raw(task: Task) -> None:
    """Compare the raw files with the checksums in task.toml and from the download.

    Raises `TaskError`.
    """
    for name, sha256 in task.file.raw.items():
        check_checksum(task.raw / name, sha256, "task.toml expects {}")
    if task.file.kaggle:
        remedy = f"remove {task.raw.parent} and {instructions(task)}"
        for name, recorded in kaggle.checksums(task.raw.parent).items():
            path, sha256 = task.raw / name, recorded["sha256"]
            check_checksum(path, sha256, f"it was {{}} when it was downloaded; {remedy}")


def check_checksum(path: Path, sha256: str, expectation: str) -> None:
    """Check a file's SHA-256. Raises `TaskError`.

    Args:
        path: the file.
        sha256: the expected digest, hexadecimal.
        expectation: the end of the error message; `{}` is replaced by the expected digest.
    """
    if not path.is_file():
        raise TaskError(f"{path} is missing; {expectation.format(f'the sha256 {sha256}')}")
    found = sha256_of(path)
    if found != sha256:
        raise TaskError(f"{path} has the sha256 {found}; {expectation.format(sha256)}")


def instructions(task: Task) -> str:
    """Return what the operator must do to get a task's missing data."""
    if task.file.origin is not None:
        return task.file.origin.todo
    name = task.id if catalog.task_folders().get(task.id) == task.folder else task.folder
    return f"run: kernel-env tasks prepare {name}"


def run_prepare(task: Task, folder: Path) -> None:
    """Run the prepare function, check the files that it writes, and record their checksums.

    Args:
        task: the task, whose raw files are complete.
        folder: an empty folder that gets `public`, `private` and `checksums.json`.

    Raises:
        TaskError: the prepare function fails, is too slow, or writes wrong files.
    """
    public, private = folder / "public", folder / "private"
    public.mkdir()
    private.mkdir(mode=0o700)
    prepare_file = task.folder / "prepare.py"
    other = interpreter(task)
    argv = [os.fspath(other.python) if other else sys.executable, "-P", "-m", MODULE]
    variables = {**os.environ, "PYTHONPATH": os.fspath(other.modules)} if other else None
    try:
        done = subprocess.run(
            [*argv, prepare_file, task.raw, public, private],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=variables,
        )
    except subprocess.TimeoutExpired as error:
        raise TaskError(f"{prepare_file} took longer than {TIMEOUT_S} s") from error
    if done.returncode:
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = last_line.removeprefix(f"{TaskError.__module__}.{TaskError.__qualname__}: ")
        reason = escape_line(reason) or f"exit code {done.returncode}"
        printed = escape_line(done.stdout.decode(errors="replace").strip().rpartition("\n")[2])
        last = f"; the last line that it printed: {printed}" if printed else ""
        raise TaskError(f"{prepare_file} failed: {reason}{last}")
    (public / "description.md").unlink(missing_ok=True)  # it could be a link to the original
    shutil.copyfile(task.folder / "description.md", public / "description.md")
    if not task.scoring.schema.is_free_form:
        columns = task.scoring.schema.columns
        check_header(task, public / "sample_submission.csv", columns)
        extra = task.file.metric.column
        more = [extra] if extra is not None and extra not in columns else []
        check_header(task, private / "answers.csv", [*columns, *more, "Usage"])
    private.chmod(0o700)
    folder.chmod(0o755)
    for path in (public, *public.rglob("*")):  # another user reads them in the container
        if path.is_dir() or not is_readable_by_all(path):  # which linked files are already
            path.chmod(0o755 if path.is_dir() else 0o644)
    checksums = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "checksums.json").write_text(json.dumps(checksums, indent=1) + "\n")


def is_readable_by_all(path: Path) -> bool:
    """Return whether every user can read a file, and only its owner can write it."""
    return path.stat().st_mode & 0o466 == 0o444


def sha256_of(path: Path) -> str:
    """Compute a file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_header(task: Task, path: Path, columns: list[str]) -> None:
    """Check that the prepare function wrote a CSV file with these columns. Raises `TaskError`."""
    prepare_file = task.folder / "prepare.py"
    if not path.is_file():
        raise TaskError(f"{prepare_file} wrote no {path.parent.name}/{path.name}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{prepare_file} wrote {path.name}, which is no CSV: {error}") from error
    if found != columns:
        raise TaskError(
            f"{prepare_file} wrote {path.name} with the columns {found};"
            f" task.toml expects {columns}"
        )


def check_sizes(folder: Path) -> None:
    """Compare the sizes of the cached files with the recorded ones. Raises `TaskError`.

    This check runs before every use, so it must be fast; `tasks check` compares the content.
    """
    for name, recorded in json.loads((folder / "checksums.json").read_text()).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != recorded["bytes"]:
            raise TaskError(f"{path} was changed since it was prepared; remove {folder}")


if __name__ == "__main__":
    program, *folders = sys.argv[1:]
    runpy.run_path(program)["prepare"](*map(Path, folders))
