"""Unpack an untrusted zip archive safely.

Rejected before a byte is written: paths outside the folder, links and special files, duplicate
names, encrypted files, and contents that are much larger than a data set's archive (zip bombs).
While a file is written, its content is compared with the checksum in the archive.
"""

import hashlib
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kernel_env.errors import DownloadError

MAX_RATIO = 200
"""The largest accepted compression ratio. Tables reach 10, rarely 50; zip bombs reach 1,000."""
ALWAYS_ALLOWED_BYTES = 1_000_000_000
"""Contents up to this size are accepted with any ratio."""
CHUNK_BYTES = 1 << 20
MAX_NAME_BYTES = 255
"""The longest file name that common file systems support."""
ENCRYPTED = 1
"""The bit in a member's flags."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """The size and the digest of a file."""

    bytes: int
    sha256: str
    """Hexadecimal."""


def members(archive: Path) -> list[zipfile.ZipInfo]:
    """List the files in a zip archive and check that all of them are safe to unpack.

    Raises `DownloadError`.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            found = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise DownloadError(f"{archive.name} is not a complete zip archive: {error}") from error
    for member in found:
        if fault := unsafe(member):
            raise DownloadError(f"{archive.name} is rejected: {member.orig_filename!r} {fault}")
    names = [PurePosixPath(member.filename) for member in found if not member.is_dir()]
    folders = {parent for name in names for parent in name.parents}
    if len(set(names)) < len(names) or folders & set(names):
        raise DownloadError(f"{archive.name} is rejected: it contains a name twice")
    total, limit = total_bytes(found), max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * archive.stat().st_size)
    if total > limit:
        raise DownloadError(
            f"{archive.name} is rejected: it would unpack to {total:,} bytes;"
            f" the limit for an archive of its size is {limit:,}"
        )
    return [member for member in found if not member.is_dir()]


def unsafe(member: zipfile.ZipInfo) -> str:
    """Return why a member must not be unpacked; empty if it is safe.

    >>> unsafe(zipfile.ZipInfo("train/1.csv"))
    ''
    >>> unsafe(zipfile.ZipInfo("../train.csv"))
    'is outside the folder'
    """
    name = member.orig_filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if (
        not name.strip("/.")
        or "\0" in name
        or max(map(encoded_length, name.split("/"))) > MAX_NAME_BYTES
    ):
        return "is not a valid file name"
    if name.startswith("/") or ".." in name.split("/"):
        return "is outside the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    return ""


def encoded_length(part: str) -> int:
    """Return the length of a name in bytes."""
    return len(part.encode(errors="replace"))


def total_bytes(found: list[zipfile.ZipInfo]) -> int:
    """Return the announced size of the unpacked files; no more than this is written."""
    return sum(member.file_size for member in found)


def unpack(
    archive: Path, into: Path, progress: Callable[[float], None] = lambda _: None
) -> dict[str, Checksum]:
    """Write every file of a zip archive into a folder.

    Args:
        archive: the zip archive.
        into: the folder; the caller removes it after an error, because it can contain some files.
        progress: called with the unpacked share, from 0 to 1.

    Returns:
        The checksum of each file, by its path in the folder.

    Raises:
        DownloadError: the archive is corrupt or unsafe.
        OSError: the disk is full or not writable.
    """
    found = members(archive)
    total, written = total_bytes(found), 0
    checksums = {}
    with zipfile.ZipFile(archive) as opened:
        for member in found:
            path = into / PurePosixPath(member.filename)
            path.parent.mkdir(parents=True, exist_ok=True)
            digest, size = hashlib.sha256(), 0
            with path.open("xb") as file:
                for data in chunks(opened, member, archive.name):
                    file.write(data)
                    digest.update(data)
                    size += len(data)
                    progress((written + size) / max(total, 1))
            written += size
            name = path.relative_to(into).as_posix()
            checksums[name] = Checksum(bytes=size, sha256=digest.hexdigest())
    return checksums


def chunks(opened: zipfile.ZipFile, member: zipfile.ZipInfo, archive: str) -> Iterator[bytes]:
    """Read a member's content. Raises `DownloadError` if it differs from the archive's checksum."""
    try:
        with opened.open(member) as file:
            left = member.file_size
            while data := file.read(CHUNK_BYTES):
                left -= len(data)
                yield data
            if left:
                raise EOFError(f"{left:,} bytes are missing")
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DownloadError(f"{archive} is corrupt at {member.filename!r}: {error}") from error
