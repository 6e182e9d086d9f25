import io
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.errors import DownloadError
from kernel_env.tasks.kaggle import unpack as unpacking
from kernel_env.tasks.kaggle.unpack import Checksum, unpack, unsafe

NAMES = st.lists(
    st.sampled_from([*"ab./\\~ é", "\0", "..", "../", "//", "CON", "\n"]), min_size=1, max_size=6
).map("".join)


def write_zip(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in entries:
            opened.writestr(zipfile.ZipInfo(name), data)
    return path


@given(st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=5))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_archive_is_unpacked_completely_in_its_folder_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("around")
    archive = write_zip(folder / "a.zip", entries)
    into = folder / "into"
    into.mkdir()

    try:
        checksums = unpack(archive, into)
    except DownloadError:
        assert list(into.iterdir()) == []  # rejected before a byte was written
        checksums = None

    assert {path.name for path in folder.iterdir()} == {"a.zip", "into"}
    if checksums is not None:
        written = [(zipfile.ZipInfo(name).filename, data) for name, data in entries]
        files = [(name, data) for name, data in written if not name.endswith("/")]
        expected = {PurePosixPath(name).as_posix(): data for name, data in files}
        found = [path for path in into.rglob("*") if path.is_file()]
        assert {path.relative_to(into).as_posix(): path.read_bytes() for path in found} == expected
        assert {name: each.bytes for name, each in checksums.items()} == {
            name: len(data) for name, data in expected.items()
        }


@given(NAMES)
def test_an_accepted_name_stays_inside_the_folder(name: str) -> None:
    member = zipfile.ZipInfo(name)

    if not unsafe(member):
        inside = Path("/folder") / PurePosixPath(member.filename)
        assert ".." not in inside.parts
        assert Path("/folder") in inside.parents


def special_file(kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x")
    member.external_attr = (kind | 0o644) << 16
    return member


def encrypted() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x")
    member.flag_bits = unpacking.ENCRYPTED
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (zipfile.ZipInfo("train.csv"), ""),
        (zipfile.ZipInfo("a/..b/.c"), ""),
        (zipfile.ZipInfo("folder/"), ""),
        (special_file(stat.S_IFREG), ""),
        (zipfile.ZipInfo("../x"), "is outside the folder"),
        (zipfile.ZipInfo("a/../../x"), "is outside the folder"),
        (zipfile.ZipInfo("/etc/passwd"), "is outside the folder"),
        (zipfile.ZipInfo(""), "is not a valid file name"),
        (zipfile.ZipInfo("a\0b"), "is not a valid file name"),
        (zipfile.ZipInfo("a" * 5000), "is not a valid file name"),
        (special_file(stat.S_IFLNK), "is a link or a special file"),
        (special_file(stat.S_IFIFO), "is a link or a special file"),
        (special_file(stat.S_IFCHR), "is a link or a special file"),
        (encrypted(), "is encrypted"),
    ],
)
def test_an_unsafe_member_is_rejected(member: zipfile.ZipInfo, reason: str) -> None:
    assert unsafe(member) == reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [["a", "a"], ["a", "./a"], ["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]]
)
def test_a_duplicate_name_is_rejected(tmp_path: Path, names: list[str]) -> None:
    archive = write_zip(tmp_path / "a.zip", [(name, b"1") for name in names])

    with pytest.raises(DownloadError, match=r"a\.zip is rejected: it contains a name twice"):
        unpack(archive, tmp_path / "into")


def test_a_zip_bomb_is_rejected_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED_BYTES", 1_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(10_000_000))
    limit = archive.stat().st_size * unpacking.MAX_RATIO

    with pytest.raises(DownloadError) as caught:
        unpack(archive, tmp_path / "into")

    assert str(caught.value) == (
        "a.zip is rejected: it would unpack to 10,000,000 bytes;"
        f" the limit for an archive of its size is {limit:,}"
    )
    assert not (tmp_path / "into").exists()


def test_a_member_longer_than_announced_is_rejected(tmp_path: Path) -> None:
    data = bytes(range(256)) * 100
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("x", data)
        opened.infolist()[0].file_size = 100  # the announced size
    path = tmp_path / "a.zip"
    path.write_bytes(buffer.getvalue())

    with pytest.raises(DownloadError, match=r"a\.zip is corrupt at 'x': Bad CRC-32 for file 'x'"):
        unpack(path, tmp_path / "into")

    assert (tmp_path / "into" / "x").stat().st_size <= 100


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_flipped_bit_is_detected_with_every_compression(tmp_path: Path, compression: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", compression) as opened:
        opened.writestr("x", bytes(range(256)) * 10)
    whole = bytearray(archive.read_bytes())
    whole[60] ^= 4
    archive.write_bytes(whole)

    with pytest.raises(DownloadError, match=r"a\.zip is corrupt at 'x': "):
        unpack(archive, tmp_path / "into")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_archive_is_rejected(tmp_path: Path, share: float) -> None:
    archive = write_zip(tmp_path / "a.zip", [("x", bytes(range(256)) * 10)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(DownloadError, match=r"a\.zip is not a complete zip archive: File is not"):
        unpack(archive, tmp_path / "into")


def test_checksums_and_progress_are_reported(tmp_path: Path) -> None:
    done: list[float] = []
    archive = write_zip(tmp_path / "a.zip", [("d/", b""), ("d/x", b"hello"), ("empty", b"")])

    checksums = unpack(archive, tmp_path / "into", done.append)

    hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert checksums == {
        "d/x": Checksum(bytes=5, sha256=hello),
        "empty": Checksum(bytes=0, sha256=nothing),
    }
    assert done[-1] == 1.0
