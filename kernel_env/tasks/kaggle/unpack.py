"""Unpack a zip archive that came from elsewhere: inside its folder, and not larger than it may be.

Refused before a byte is written: names that lead out of the folder, links and special
files, a name that is there twice, passwords, and contents so much larger than the
archive that no data set looks like that. What each file holds is held against its
checksum in the archive while it is written.
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

RATIO = 200
"""Tables shrink to a tenth, seldom to a fiftieth; a zip bomb is a thousand times its archive."""
UNSUSPICIOUS_BYTES = 1_000_000_000
"""Contents up to here fit everywhere, whatever their ratio."""
CHUNK = 1 << 20
NAME_BYTES = 255
"""The longest name that file systems take."""
ENCRYPTED = 1
"""The bit of a member's flags."""


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What a file holds."""

    bytes: int
    sha256: str


def members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in a zip archive, none of them able to do harm. Raises `DownloadError`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            found = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise DownloadError(f"{archive.name} is no whole zip archive: {error}") from error
    for member in found:
        if why := objection(member):
            raise DownloadError(f"{archive.name} is refused: {member.orig_filename!r} {why}")
    names = [PurePosixPath(member.filename) for member in found if not member.is_dir()]
    folders = {parent for name in names for parent in name.parents}
    if len(set(names)) < len(names) or folders & set(names):
        raise DownloadError(f"{archive.name} is refused: one of its names is there twice")
    total, limit = total_bytes(found), max(UNSUSPICIOUS_BYTES, RATIO * archive.stat().st_size)
    if total > limit:
        raise DownloadError(
            f"{archive.name} is refused: it would unpack to {total:,} bytes,"
            f" and {limit:,} is the most for an archive of its size"
        )
    return [member for member in found if not member.is_dir()]


def objection(member: zipfile.ZipInfo) -> str:
    """Why a member must not be unpacked; empty when it may.

    >>> objection(zipfile.ZipInfo("train/1.csv"))
    ''
    >>> objection(zipfile.ZipInfo("../train.csv"))
    'leads out of its folder'
    """
    name = member.orig_filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not name.strip("/.") or "\0" in name or max(map(length, name.split("/"))) > NAME_BYTES:
        return "is no name for a file"
    if name.startswith("/") or ".." in name.split("/"):
        return "leads out of its folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & ENCRYPTED:
        return "needs a password"
    return ""


def length(part: str) -> int:
    """Of a name, in bytes."""
    return len(part.encode(errors="replace"))


def total_bytes(found: list[zipfile.ZipInfo]) -> int:
    """What they take when unpacked; more is never written, whatever they hold."""
    return sum(member.file_size for member in found)


def unpack(
    archive: Path, into: Path, tell: Callable[[float], None] = lambda _: None
) -> dict[str, Sum]:
    """Write every file of a zip archive into a new folder; what each holds, by its path in it.

    Raises `DownloadError` for a broken or a harmful archive, `OSError` for the disk. Either
    way the folder may hold some of the files: whoever asked removes it.
    """
    found = members(archive)
    total, written = total_bytes(found), 0
    sums = {}
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
                    tell((written + size) / max(total, 1))
            written += size
            sums[path.relative_to(into).as_posix()] = Sum(bytes=size, sha256=digest.hexdigest())
    return sums


def chunks(opened: zipfile.ZipFile, member: zipfile.ZipInfo, archive: str) -> Iterator[bytes]:
    """A member's content. Raises `DownloadError` when it is not what the archive says it is."""
    try:
        with opened.open(member) as file:
            left = member.file_size
            while data := file.read(CHUNK):
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
        raise DownloadError(f"{archive} is broken at {member.filename!r}: {error}") from error
