"""Run the code of other benchmarks from their checkouts.

It runs only in the process that prepares a task or grades a submission. The operator trusts it
as much as the benchmark itself. Nothing is written into the checkout; code that changes its
input gets a copy.

An error is attributed to the agent or to the task. A rejection counts against the submission,
and so does a grader that fails on the submission but accepts a known good one. Every other
failure is an error of the task.
"""

import fcntl
import importlib.util
import logging
import math
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.submission import one_line
from kernel_env.tasks.prepare import is_readable_by_all

if TYPE_CHECKING:
    import pandas as pd

SHIMS = Path(__file__).with_name("shims")
SAMPLE = "sample_submission.csv"


class InvalidSubmissionError(Exception):
    """The exception with which a benchmark's own code rejects a submission.

    The shims export it under the benchmark's package name.
    """


def add_shims_to_path() -> None:
    """Put the shims on `sys.path` and stop Python from writing bytecode into the checkout."""
    sys.dont_write_bytecode = True
    if str(SHIMS) not in sys.path:
        sys.path.insert(0, str(SHIMS))


@contextmanager
def explain_missing_package(source: Path) -> Iterator[None]:
    """Convert an `ImportError` into a `TaskError` that names the package to install."""
    try:
        yield
    except ImportError as error:
        package = f"pip install {error.name}" if error.name else "see its own requirements"
        raise TaskError(f"{source} cannot be imported: {error}; {package}") from error


def load_module(path: Path) -> ModuleType:
    """Import a Python file as a module. Raises `TaskError` when a package is missing."""
    add_shims_to_path()
    spec = importlib.util.spec_from_file_location(f"imported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with explain_missing_package(path):
        spec.loader.exec_module(module)
    return module


def copy_folder(source: Path, into: Path) -> None:
    """Copy a folder's content and make the copied files and folders writable."""
    fill_folder(source, into, copy_file)


def link_folder(source: Path, into: Path) -> None:
    """Fill a folder with the files of another without a second copy of them, where possible.

    Only for code that does not change files in place: a linked file is the original.
    """
    fill_folder(source, into, link_file)


def fill_folder(source: Path, into: Path, put: Callable[[str, str], object]) -> None:
    """Put each file of a folder into another, and make the folders there writable."""
    shutil.copytree(source, into, copy_function=put, dirs_exist_ok=True)
    for folder in (into, *(path for path in into.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


FICLONE = 0x40049409
"""ioctl_ficlone(2): let a file share another's blocks until one of them changes."""


def copy_file(source: str, target: str) -> None:
    """Copy a file's content; share its blocks where the file system can (Btrfs, XFS)."""
    try:
        with Path(source).open("rb") as original, Path(target).open("wb") as copy:
            fcntl.ioctl(copy.fileno(), FICLONE, original.fileno())
    except OSError:
        shutil.copyfile(source, target)


def link_file(source: str, target: str) -> None:
    """Link a file under a second name, or copy it: to another file system, or if it is private.

    A prepared file must be readable by all, and the mode of a linked file is that of the original.
    """
    path = Path(source).resolve()
    try:
        if not is_readable_by_all(path):
            raise PermissionError(source)
        os.link(path, target)
    except OSError:
        copy_file(source, target)


def replace_file(source: Path, target: Path) -> None:
    """Copy a file to a path where another can be, which can be a link to an original."""
    target.unlink(missing_ok=True)
    copy_file(str(source), str(target))


@contextmanager
def temporary_copy(source: Path, beside: Path) -> Iterator[Path]:
    """Copy a folder for code that deletes its input, and delete the copy at the end."""
    with TemporaryDirectory(prefix=".raw-", dir=beside.parent, ignore_cleanup_errors=True) as temp:
        copy_folder(source, Path(temp) / "raw")
        yield Path(temp) / "raw"


def require_file(folder: Path, name: str) -> Path:
    """Return the path of a file that preparation must create. Raises `TaskError` without it."""
    if not (folder / name).is_file():
        raise TaskError(f"preparing left no {folder.name}/{name}")
    return folder / name


# ── grading ───────────────────────────────────────────────────────────────────────────────


def score_or_reject(
    score_file: Callable[[Path], Any], submission: Path, known_good: Path | None
) -> float:
    """Score a submission and attribute a failure to the agent or to the task.

    Args:
        score_file: the benchmark's own grading of a file.
        submission: the agent's file.
        known_good: a submission that the grader must accept; None if there is none. Then no failure
            can be told apart from a rejection.

    Raises:
        SubmissionError: the grader rejects the submission, or fails on it alone.
        TaskError: the grader fails on `known_good` as well.
    """
    try:
        score = score_file(submission)
        if is_number(score):
            return float(score)
        failure = f"returned {score!r} for the submission"
    except InvalidSubmissionError as error:
        raise SubmissionError(one_line(error)) from error
    except (SubmissionError, TaskError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - attributed below
        failure = f"failed on the submission: {type(error).__name__}: {one_line(error)}"  # type: ignore[arg-type]
    if known_good is None:
        raise SubmissionError(f"the grader {failure}. Follow the description of the task")
    try:
        accepts_known_good = is_number(score_file(known_good))
    except (Exception, SystemExit):  # noqa: BLE001 - any failure means that the grader is broken
        accepts_known_good = False
    if accepts_known_good:
        raise SubmissionError(
            f"the grader {failure}. It accepts {SAMPLE}: use the same columns, rows and types"
        )
    raise TaskError(
        f"the benchmark's own grader {failure}; it does not accept {known_good.name} either"
    )


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, and so a score."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def read_submission(path: Path, read: Callable[[Path], "pd.DataFrame"]) -> "pd.DataFrame":
    """Read a submission with the benchmark's reader. Raises `SubmissionError` if it fails."""
    try:
        return read(path)
    except (ValueError, OSError) as error:  # pandas' own parser errors are ValueErrors
        raise SubmissionError(f"the submission is not a CSV table: {one_line(error)}") from error


# ── functions that the shims export ───────────────────────────────────────────────────────


def read_csv(*args: Any, **options: Any) -> "pd.DataFrame":
    """Read a CSV file with exact floats; return an empty table for an empty file."""
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(*args, **{"float_precision": "round_trip", **options})
        return table
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def get_logger(name: str, *_: Any, **__: Any) -> logging.Logger:
    """Return the standard logger of a name; accept and ignore other arguments."""
    return logging.getLogger(name)


def is_archive(path: Path) -> bool:
    """Return whether `extract` can unpack a file."""
    return path.suffix in (".zip", ".7z")


def extract(compressed: Path, dst: Path, recursive: bool = False) -> None:
    """Unpack an archive into a folder.

    Args:
        compressed: a .zip or .7z file.
        dst: the folder to unpack into.
        recursive: also unpack the archives that the archive contains.
    """
    before = set(dst.iterdir()) if dst.is_dir() else set()
    if compressed.suffix == ".7z":
        import py7zr  # type: ignore[import-not-found]

        with py7zr.SevenZipFile(compressed) as archive:
            archive.extractall(dst)
    else:
        with zipfile.ZipFile(compressed) as archive:
            archive.extractall(dst)
    if recursive:
        for path in sorted(set(dst.iterdir()) - before - {compressed}):
            if is_archive(path):
                extract(path, path.parent, recursive=True)


def compress(src: Path, compressed: Path, exist_ok: bool = False) -> None:
    """Pack a folder's files into a zip archive, with names relative to the folder."""
    files = sorted(path for path in src.rglob("*") if path.is_file())
    with zipfile.ZipFile(compressed, "w" if exist_ok else "x", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(src))


def df_to_one_hot(
    df: "pd.DataFrame", id_column: str, target_column: str, classes: list[str]
) -> "pd.DataFrame":
    """Encode a label column as one 0/1 column for each class, beside the ids.

    A label that is no class gets a column of its own, which is empty in the rows of others.
    """
    import pandas as pd

    labels = df[target_column]
    columns = {name: (labels == name).astype(int) for name in classes}
    unknown = {
        name: (labels == name).where(labels == name) for name in labels if name not in classes
    }
    others = {name: column.astype(float) for name, column in unknown.items()}
    return pd.DataFrame({id_column: df[id_column], **columns, **others}, index=df.index)
