"""Download the data of Kaggle competitions.

`download` creates a folder with all of a competition's files, or none:

    titanic/                    created at the end, by renaming
      raw/                      the files in Kaggle's archive
      checksums.json            the size and the SHA-256 of each
    titanic.partial/            the unfinished download
      titanic.zip.part          what has arrived; this run or a later one resumes it
      titanic.zip               the complete archive, not unpacked yet
    titanic.lock                allows one download at a time
    titanic.leaderboard.csv     both leaderboards, if Kaggle shows them

Kaggle's client runs in a separate process, see `kernel_env.tasks.kaggle.client_process`.
"""

import errno
import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernel_env import cache
from kernel_env.errors import DownloadError, UsageError
from kernel_env.tasks.kaggle.client import SITE, ClientProcess, disk_advice, raise_failure, size

Progress = Callable[[str, float | None], None]
"""(the current activity as text, the finished share from 0 to 1 or None if unknown)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
"""The name of a competition; few have capitals, as AI4Code."""
RAW, CHECKSUMS = "raw", "checksums.json"
PATIENCE = 5
"""The number of attempts in a row without a new byte; with the pauses, about half a minute."""


def no_progress(text: str, done: float | None) -> None:
    """Ignore the progress."""


def competition_folder(competition: str) -> Path:
    """Return the folder of a competition in the cache; it need not exist yet."""
    return cache.folder() / "kaggle" / competition


def is_downloaded(folder: Path) -> bool:
    """Return whether a competition's folder is complete."""
    return (folder / CHECKSUMS).is_file()


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the `bytes` and the `sha256` of each file in `raw`, as they were downloaded."""
    found: dict[str, dict[str, Any]] = json.loads((folder / CHECKSUMS).read_text())
    return found


def download(competition: str, into: Path, progress: Progress = no_progress) -> Path:
    """Download all files of a competition; resume an interrupted download.

    Args:
        competition: the competition's name.
        into: the folder to create; if it is complete, nothing is downloaded.
        progress: called with the current activity.

    Returns:
        The folder with the files, `raw` in `into`.

    Raises:
        DownloadError: the download failed; the message tells the operator what to do.
        UsageError: the name is not a valid name of a competition.
    """
    if not NAME.fullmatch(competition):
        raise UsageError(
            f"{competition!r} is not the name of a Kaggle competition; take it from the address of"
            f" the competition's page, {SITE}/competitions/NAME"
        )
    partial = into.with_name(f"{into.name}.partial")
    if is_downloaded(into) and not partial.exists():
        return into / RAW
    try:
        with locked(into, progress):
            if not is_downloaded(into):
                partial.mkdir(exist_ok=True)
                archive = partial / f"{competition}.zip"
                if not archive.exists():
                    download_archive(competition, archive, progress)
                unpack_archive(competition, archive, into, progress)
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DownloadError(
            f"{competition} cannot be kept in {into.parent}: {error.strerror or error};"
            f" {disk_advice(error.errno)}"
        ) from error
    return into / RAW


@contextmanager
def locked(into: Path, progress: Progress) -> Iterator[None]:
    """Hold a folder's lock. The kernel releases it when the process ends, even if it is killed."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with into.with_name(f"{into.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{into.name}: waiting for another process that is downloading it", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def download_archive(competition: str, archive: Path, progress: Progress) -> None:
    """Download an archive to `<archive>.part` and rename it when it is complete."""
    part = archive.with_name(f"{archive.name}.part")
    announced: dict[str, Any] = {}
    job = {"what": "data", "competition": competition, "archive": str(part)}
    with ClientProcess({**job, "patience": PATIENCE}) as client:
        for message in client.messages(part):
            if message["kind"] == "arriving":
                announced = message
                check_disk_space(competition, part, announced["bytes"])
            received, total = size(part), announced.get("bytes")
            if message["kind"] == "failed":
                raise_failure(
                    competition, message, kept=megabytes(received, total) if received else ""
                )
            if announced:
                done = received / total if total else None
                progress(f"{competition}: downloading · {megabytes(received, total)}", done)
    fault = mismatch(part, announced)
    if fault:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"the download of {competition} is corrupt: {fault}; it was removed, run it again"
        )
    part.rename(archive)


def unpack_archive(competition: str, archive: Path, into: Path, progress: Progress) -> None:
    """Unpack a complete archive into a temporary folder and rename that to `into`."""
    from kernel_env.tasks.kaggle.unpack import members, total_bytes, unpack

    partial = archive.with_name("unpacked")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        check_disk_space(competition, partial, total_bytes(members(archive)))
        (partial / RAW).mkdir(parents=True)
        found = unpack(
            archive, partial / RAW, lambda done: progress(f"{competition}: unpacking", done)
        )
        text = json.dumps({name: asdict(each) for name, each in sorted(found.items())}, indent=1)
        (partial / CHECKSUMS).write_text(text + "\n")
        partial.rename(into)
    except DiskFullError:
        raise
    except DownloadError as error:
        archive.unlink(missing_ok=True)  # unpacking it again would fail again
        raise DownloadError(
            f"the download of {competition} is corrupt: {error}; it was removed, run it again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def mismatch(part: Path, announced: dict[str, Any]) -> str:
    """Compare a download with the announced size and MD5.

    Returns:
        The difference, as text; empty if there is none.
    """
    received = size(part)
    if announced.get("bytes") not in (None, received):
        return f"{received:,} bytes arrived, Kaggle announced {announced['bytes']:,}"
    if not received:
        return "nothing arrived"
    if announced.get("md5"):
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if found.hexdigest() != announced["md5"]:
            return f"its md5 is {found.hexdigest()}, Kaggle announced {announced['md5']}"
    return ""


class DiskFullError(DownloadError):
    """A disk that is too small; what was downloaded is intact."""


def check_disk_space(competition: str, path: Path, total: int | None) -> None:
    """Check the free disk space before the download starts, because it can take hours.

    Args:
        competition: the competition's name.
        path: the file that will be completed, or the folder that will be created.
        total: its final size in bytes; None if unknown.

    Raises:
        DiskFullError: the free space is too small for the rest.
    """
    missing = (total or 0) - (size(path) if path.is_file() else 0)
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise DiskFullError(
            f"{competition} needs {megabytes(missing)} more in {path.parent} and"
            f" {megabytes(free)} are free; {disk_advice(errno.ENOSPC)}"
        )


def megabytes(size: int, total: int | None = None) -> str:
    """Format a size in bytes, or a part of a total, in MB.

    >>> megabytes(1_200_000, 93_081_000)
    '1.2 of 93.1 MB'
    """
    return f"{size / 1e6:,.1f}" + (f" of {total / 1e6:,.1f} MB" if total else " MB")
