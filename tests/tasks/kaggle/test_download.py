"""Check interrupted, corrupt and concurrent downloads with Kaggle's real client."""

import shutil
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from kernel_env.tasks.kaggle import client, competition
from support.competition import CUT, FILES, KEPT, NOISE, corrupt, download_error
from support.files import read_files
from support.kaggle_server import KaggleServer, zip_archive

pytestmark = pytest.mark.kaggle


def test_a_cut_connection_is_resumed(server: KaggleServer, folder: Path) -> None:
    server.cut_after = [CUT]

    raw = competition.download("titanic", folder)

    assert read_files(raw) == FILES
    assert server.downloads() == ["", "", f"bytes={KEPT}-"]


def test_a_later_run_resumes_a_failed_download(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_after = [CUT, None, 0]
    monkeypatch.setattr(competition, "PATIENCE", 1)
    total = len(server.archive)

    message = download_error(folder)
    part = folder.with_name("titanic.partial") / "titanic.zip.part"
    kept = part.read_bytes()
    raw = competition.download("titanic", folder)

    assert message.endswith(f"; 0.1 of {total / 1e6:.1f} MB are kept, run it again to resume")
    assert kept == server.archive[:KEPT]
    assert read_files(raw) == FILES
    assert server.downloads()[-2:] == ["", f"bytes={KEPT}-"]
    assert not part.parent.exists()


def test_a_store_without_ranges_sends_the_whole_archive_again(
    server: KaggleServer, folder: Path
) -> None:
    server.cut_after, server.supports_ranges = [CUT], False

    raw = competition.download("titanic", folder)

    assert read_files(raw) == FILES
    assert server.downloads() == ["", "", f"bytes={KEPT}-"]


def test_a_response_with_the_wrong_range_is_detected(server: KaggleServer, folder: Path) -> None:
    server.cut_after, server.ignores_range, total = [CUT], True, len(server.archive)

    message = download_error(folder)
    raw = competition.download("titanic", folder)

    assert message == corrupt(
        f"{total + KEPT:,} bytes arrived, Kaggle announced {total:,}; it was removed, run it again"
    )
    assert read_files(raw) == FILES


def test_data_that_changed_since_a_failed_download_is_not_mixed(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_after = [CUT]
    monkeypatch.setattr(competition, "PATIENCE", 0)
    download_error(folder)
    changed = {**FILES, "images/1.png": NOISE[::-1]}
    server.archive, server.etag, server.cut_after = zip_archive(changed), '"2"', []

    raw = competition.download("titanic", folder)

    assert read_files(raw) == changed


def test_a_corrupt_archive_is_removed(server: KaggleServer, folder: Path) -> None:
    archive, partial = server.archive, folder.with_name("titanic.partial")
    server.archive = archive[:200_000]
    server.length = -1  # without a length, the end of the connection is the end of the file
    server.has_md5 = False
    incomplete = download_error(folder)
    kept = list(partial.iterdir())

    server.archive = bytes([*archive[:99], archive[99] ^ 1, *archive[100:]])
    server.length = None
    flipped_bit = download_error(folder)

    assert incomplete == corrupt(
        "titanic.zip is not a complete zip archive: File is not a zip file; it was removed, run it"
        " again"
    )
    assert kept == []
    assert flipped_bit.startswith(corrupt("titanic.zip is corrupt at"))
    assert flipped_bit.endswith("; it was removed, run it again")
    assert list(partial.iterdir()) == []


def test_the_announced_size_and_md5_are_compared(
    server: KaggleServer, folder: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"hello world")
    announced = {"bytes": 11, "md5": "5eb63bbbe01eeed093cb22bb8f5acdc3"}

    assert competition.mismatch(part, announced) == ""
    assert competition.mismatch(part, {**announced, "bytes": 12}) == (
        "11 bytes arrived, Kaggle announced 12"
    )
    assert competition.mismatch(part, {**announced, "md5": "0"}) == (
        "its md5 is 5eb63bbbe01eeed093cb22bb8f5acdc3, Kaggle announced 0"
    )
    assert competition.mismatch(tmp_path / "none", {}) == "nothing arrived"


def test_a_full_disk_is_reported_and_the_download_is_kept(
    server: KaggleServer, small_disk: Path
) -> None:
    folder = small_disk / "titanic"
    advice = "make room, or move the cache with KERNEL_ENV_CACHE, and run it again"
    filler = small_disk / "filler"

    filler.write_bytes(bytes(400_000))
    too_large = download_error(folder)  # detected before the first byte, by the announced length
    before = server.downloads()

    server.length = -1  # not detected before, because no length is announced
    full = download_error(folder)
    part = small_disk / "titanic.partial" / "titanic.zip.part"
    kept = part.stat().st_size

    filler.unlink()  # room for the archive, but not for its content
    server.length = None
    unpacked = download_error(folder)
    requests = len(server.requests)
    shutil.copytree(small_disk / "titanic.partial", small_disk.with_name("titanic.partial"))
    raw = competition.download("titanic", small_disk.with_name("titanic"))

    needs = f"titanic needs 0.4 MB more in {part.parent} and 0.2 MB are free; "
    assert too_large.startswith(needs)
    assert too_large.endswith(advice)
    assert before == [""]
    assert 100_000 < kept < 250_000
    assert full == (
        f"titanic cannot be written: No space left on device; {advice};"
        f" {kept / 1e6:.1f} MB are kept, run it again to resume"
    )
    assert unpacked.startswith(needs)
    assert read_files(raw) == FILES
    assert len(server.requests) == requests  # the archive was complete


def test_a_cache_that_cannot_be_written_is_reported(server: KaggleServer) -> None:
    assert download_error(Path("/proc/nope/titanic")) == (
        "titanic cannot be kept in /proc/nope: No such file or directory; make it writable, or"
        " move the cache with KERNEL_ENV_CACHE, and run it again"
    )
    assert server.requests == []


def test_a_stalled_download_fails_and_can_be_resumed(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_after, server.hangs = [CUT], True
    monkeypatch.setattr(client, "STALL_S", 2.0)

    message = download_error(folder)
    server.hangs = False
    raw = competition.download("titanic", folder)

    assert message == (
        "nothing arrived from Kaggle for 2 s; check the network, and run it again to resume"
    )
    assert read_files(raw) == FILES
    assert server.downloads() == ["", "", f"bytes={KEPT}-"]


def test_two_processes_download_a_competition_once(server: KaggleServer, folder: Path) -> None:
    reported: list[str] = []
    arguments = ("titanic", folder, lambda text, _: reported.append(text))
    threads = [threading.Thread(target=competition.download, args=arguments) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read_files(folder / "raw") == FILES
    assert server.downloads() == [""]
    assert "titanic: waiting for another process that is downloading it" in reported


def test_an_archive_with_a_link_is_rejected(server: KaggleServer, folder: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    server.archive = zip_archive({"fine.csv": b"1", link: b"/etc/passwd"})  # type: ignore[dict-item]

    assert download_error(folder) == corrupt(
        "titanic.zip is rejected: 'link' is a link or a special file; it was removed, run it again"
    )
