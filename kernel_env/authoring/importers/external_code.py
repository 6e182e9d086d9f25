"""Other benchmarks' code, run where it lies: only ever in a process that prepares or grades.

It is the operator's to trust, as the benchmark itself is. Nothing is written beside it, and
what it may change is a copy. Blame goes to whom it belongs: a refusal is the agent's, and so is
a grader that fails at the agent's submission but not at one that is known to be good; anything
else is the task's.
"""

import importlib.util
import logging
import math
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

if TYPE_CHECKING:
    import pandas as pd

SHIMS = Path(__file__).with_name("shims")
SAMPLE = "sample_submission.csv"


class InvalidSubmissionError(Exception):
    """A benchmark's own code refuses a submission; known to it under its own package's name."""


def ready() -> None:
    """Let other benchmarks' code be imported: stand-ins in place, nothing written beside it."""
    sys.dont_write_bytecode = True
    if str(SHIMS) not in sys.path:
        sys.path.insert(0, str(SHIMS))


@contextmanager
def importing(what: Path) -> Iterator[None]:
    """Say which package is missing where an import fails. Raises `TaskError`."""
    try:
        yield
    except ImportError as error:
        package = f"pip install {error.name}" if error.name else "see its own requirements"
        raise TaskError(f"{what} cannot be imported: {error}; {package}") from error


def load(path: Path) -> ModuleType:
    """A Python file as a module. Raises `TaskError` for a package that is missing."""
    ready()
    spec = importlib.util.spec_from_file_location(f"imported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with importing(path):
        spec.loader.exec_module(module)
    return module


def copy(source: Path, into: Path) -> None:
    """Everything in a folder, as files and folders that may be changed."""
    shutil.copytree(source, into, copy_function=shutil.copyfile, dirs_exist_ok=True)
    for folder in (into, *(path for path in into.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


@contextmanager
def copied(source: Path, beside: Path) -> Iterator[Path]:
    """A copy of a folder, for code that clears away what it was given."""
    with TemporaryDirectory(prefix=".raw-", dir=beside.parent, ignore_cleanup_errors=True) as scrap:
        copy(source, Path(scrap) / "raw")
        yield Path(scrap) / "raw"


def made(folder: Path, name: str) -> Path:
    """A file that preparing must have left. Raises `TaskError`."""
    if not (folder / name).is_file():
        raise TaskError(f"preparing left no {folder.name}/{name}")
    return folder / name


# ── grading ───────────────────────────────────────────────────────────────────────────────


def judged(score: Callable[[Path], Any], submission: Path, good: Path) -> float:
    """The score of a submission.

    Args:
        score: the benchmark's own grading of a file.
        submission: what the agent left.
        good: a submission that the grading must be able to take.

    Raises:
        SubmissionError: it is refused, or it is what the grading fails at.
        TaskError: the grading fails at the good one as well.
    """
    try:
        found = score(submission)
        if is_number(found):
            return float(found)
        failure = f"gave {found!r} for it"
    except InvalidSubmissionError as error:
        raise SubmissionError(one_line(error)) from error
    except (SubmissionError, TaskError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whose fault it is comes next
        failure = f"failed at it: {type(error).__name__}: {one_line(error)}"  # type: ignore[arg-type]
    try:
        takes_the_good = is_number(score(good))
    except (Exception, SystemExit):  # noqa: BLE001 - then it is broken, in whatever way
        takes_the_good = False
    if takes_the_good:
        raise SubmissionError(
            f"the grader {failure}. It takes {SAMPLE}: give its columns, its rows and its types"
        )
    raise TaskError(f"the benchmark's own grader {failure}; it does not take {good.name} either")


def is_number(value: Any) -> bool:
    """Whether it is a score."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def table(path: Path, read: Callable[[Path], "pd.DataFrame"]) -> "pd.DataFrame":
    """A submission as its benchmark reads it. Raises `SubmissionError` where it is no table."""
    try:
        return read(path)
    except (ValueError, OSError) as error:  # pandas' own parser errors are ValueErrors
        raise SubmissionError(f"the submission is not a CSV table: {one_line(error)}") from error


# ── what the stand-ins offer ──────────────────────────────────────────────────────────────


def read_csv(*args: Any, **options: Any) -> "pd.DataFrame":
    """A table, its floats exactly as they are written; an empty file is an empty table."""
    import pandas as pd

    try:
        found: pd.DataFrame = pd.read_csv(*args, **{"float_precision": "round_trip", **options})
        return found
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def get_logger(name: str, *_: Any, **__: Any) -> logging.Logger:
    """A logger."""
    return logging.getLogger(name)


def is_archive(path: Path) -> bool:
    """Whether `extract` takes a file."""
    return path.suffix in (".zip", ".7z")


def extract(compressed: Path, dst: Path, recursive: bool = False) -> None:
    """Unpack an archive into a folder, and the archives that come out of it if asked."""
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
    """Pack a folder's files into a zip archive, named as they are in the folder."""
    files = sorted(path for path in src.rglob("*") if path.is_file())
    with zipfile.ZipFile(compressed, "w" if exist_ok else "x", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(src))


def df_to_one_hot(
    df: "pd.DataFrame", id_column: str, target_column: str, classes: list[str]
) -> "pd.DataFrame":
    """Ids, and a column for each class that is 1 in the rows of that class and 0 elsewhere."""
    import pandas as pd

    columns = {name: (df[target_column] == name).astype(int) for name in classes}
    return pd.DataFrame({id_column: df[id_column], **columns}, index=df.index)
