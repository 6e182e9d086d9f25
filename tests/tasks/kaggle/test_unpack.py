import io
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.errors import DownloadError
from kernel_env.tasks.kaggle import unpack as unpacking
from kernel_env.tasks.kaggle.unpack import Sum, objection, unpack

NAMES = st.lists(
    st.sampled_from([*"ab./\\~ é", "\0", "..", "../", "//", "CON", "\n"]), min_size=1, max_size=6
).map("".join)


def packed(path: Path, entries: list[tuple[str, bytes]], **how: int) -> Path:
    with zipfile.ZipFile(path, "w", **how) as opened:  # type: ignore[call-overload]
        for name, data in entries:
            opened.writestr(zipfile.ZipInfo(name), data)
    return path


@given(st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=5))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_the_names_are_all_of_it_is_unpacked_inside_or_none(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("box")
    archive = packed(folder / "a.zip", entries)
    into = folder / "into"
    into.mkdir()

    try:
        sums = unpack(archive, into)
    except DownloadError:
        assert list(into.iterdir()) == []  # refused before a byte was written
        sums = None

    assert {path.name for path in folder.iterdir()} == {"a.zip", "into"}
    if sums is not None:
        written = [(zipfile.ZipInfo(name).filename, data) for name, data in entries]
        files = [(name, data) for name, data in written if not name.endswith("/")]
        wanted = {PurePosixPath(name).as_posix(): data for name, data in files}
        found = [path for path in into.rglob("*") if path.is_file()]
        assert {path.relative_to(into).as_posix(): path.read_bytes() for path in found} == wanted
        assert {name: each.bytes for name, each in sums.items()} == {
            name: len(data) for name, data in wanted.items()
        }


@given(NAMES)
def test_a_name_that_is_accepted_stays_inside(name: str) -> None:
    member = zipfile.ZipInfo(name)

    if not objection(member):
        inside = Path("/box") / PurePosixPath(member.filename)
        assert ".." not in inside.parts
        assert Path("/box") in inside.parents


def special(kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x")
    member.external_attr = (kind | 0o644) << 16
    return member


def locked() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x")
    member.flag_bits = unpacking.ENCRYPTED
    return member


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (zipfile.ZipInfo("train.csv"), ""),
        (zipfile.ZipInfo("a/..b/.c"), ""),
        (zipfile.ZipInfo("folder/"), ""),
        (special(stat.S_IFREG), ""),
        (zipfile.ZipInfo("../x"), "leads out of its folder"),
        (zipfile.ZipInfo("a/../../x"), "leads out of its folder"),
        (zipfile.ZipInfo("/etc/passwd"), "leads out of its folder"),
        (zipfile.ZipInfo(""), "is no name for a file"),
        (zipfile.ZipInfo("a\0b"), "is no name for a file"),
        (zipfile.ZipInfo("a" * 5000), "is no name for a file"),
        (special(stat.S_IFLNK), "is a link or a special file"),
        (special(stat.S_IFIFO), "is a link or a special file"),
        (special(stat.S_IFCHR), "is a link or a special file"),
        (locked(), "needs a password"),
    ],
)
def test_a_member_that_could_do_harm_is_refused(member: zipfile.ZipInfo, why: str) -> None:
    assert objection(member) == why


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [["a", "a"], ["a", "./a"], ["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]]
)
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, names: list[str]) -> None:
    archive = packed(tmp_path / "a.zip", [(name, b"1") for name in names])

    with pytest.raises(DownloadError, match=r"a\.zip is refused: one of its names is there twice"):
        unpack(archive, tmp_path / "into")


def test_a_bomb_is_refused_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "UNSUSPICIOUS_BYTES", 1_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(10_000_000))
    limit = archive.stat().st_size * unpacking.RATIO

    with pytest.raises(DownloadError) as caught:
        unpack(archive, tmp_path / "into")

    assert str(caught.value) == (
        "a.zip is refused: it would unpack to 10,000,000 bytes,"
        f" and {limit:,} is the most for an archive of its size"
    )
    assert not (tmp_path / "into").exists()


def test_a_member_that_holds_more_than_it_says_is_refused(tmp_path: Path) -> None:
    data = bytes(range(256)) * 100
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("x", data)
        opened.infolist()[0].file_size = 100  # told in the archive's list
    path = tmp_path / "a.zip"
    path.write_bytes(buffer.getvalue())

    with pytest.raises(DownloadError, match=r"a\.zip is broken at 'x': Bad CRC-32 for file 'x'"):
        unpack(path, tmp_path / "into")

    assert (tmp_path / "into" / "x").stat().st_size <= 100


@pytest.mark.parametrize(
    "how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_flipped_bit_is_found_whatever_the_compression(tmp_path: Path, how: int) -> None:
    archive = packed(tmp_path / "a.zip", [])
    with zipfile.ZipFile(archive, "w", how) as opened:
        opened.writestr("x", bytes(range(256)) * 10)
    whole = bytearray(archive.read_bytes())
    whole[60] ^= 4
    archive.write_bytes(whole)

    with pytest.raises(DownloadError, match=r"a\.zip is broken at 'x': "):
        unpack(archive, tmp_path / "into")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_an_archive_without_its_end_is_no_archive(tmp_path: Path, share: float) -> None:
    archive = packed(tmp_path / "a.zip", [("x", bytes(range(256)) * 10)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(DownloadError, match=r"a\.zip is no whole zip archive: File is not a zip"):
        unpack(archive, tmp_path / "into")


def test_what_a_file_holds_is_told(tmp_path: Path) -> None:
    done: list[float] = []
    archive = packed(tmp_path / "a.zip", [("d/", b""), ("d/x", b"hello"), ("empty", b"")])

    sums = unpack(archive, tmp_path / "into", done.append)

    hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sums == {
        "d/x": Sum(bytes=5, sha256=hello),
        "empty": Sum(bytes=0, sha256=nothing),
    }
    assert done[-1] == 1.0
