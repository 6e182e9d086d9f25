"""Kaggle's own client against a stand-in for Kaggle: what arrives, what does not, what is said."""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.errors import DownloadError, TaskError, UsageError
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.kaggle import competition as source
from kernel_env.tasks.prepare import is_prepared, obtain, prepare
from support import checkouts
from support.kaggle_server import KEY, SIGNATURE, TOKEN, USERNAME, Kaggle, archive, serve

pytestmark = pytest.mark.kaggle

SECRETS = (TOKEN, KEY, SIGNATURE)
NOISE = random.Random(0).randbytes(400_000)
"""Does not shrink, so that an archive has about this length."""
TABLE = "".join(f"{n},{3 * n}\n" for n in range(100)).encode()
CUT, KEPT = 150_000, 131_072
"""A connection that ends after so many bytes leaves this many, two reads of the client."""
FILES = {"train.csv": b"x,y\n" + TABLE, "images/1.png": NOISE, "empty.txt": b""}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A Kaggle with one competition, and a user whose token it knows; no cache, no home."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    public = [(11, "0.8"), (12, "0.9"), (13, "0.7"), (14, "")]
    private = [(12, "0.85"), (11, "0.8"), (13, "0.75"), (15, "0.1")]
    with serve(Kaggle(files=FILES, public=public, private=private)) as offered:
        for name, value in offered.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
        yield offered


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "titanic"


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def complaint(into: Path, competition: str = "titanic") -> str:
    """The one line of a download that fails, after which nothing counts as downloaded."""
    with pytest.raises(DownloadError) as caught:
        source.download(competition, into)
    line = str(caught.value)
    assert "\n" not in line
    assert not [secret for secret in SECRETS if secret in line]
    assert not into.exists()
    return line


def broken(why: str) -> str:
    return f"the download of titanic is broken: {why}"


def cli(*argv: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernel_env.cli", *map(str, argv)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def titanic(tasks: Path) -> Path:
    """A task whose raw files and leaderboard are a competition's."""
    folder = tasks.rename(tasks.with_name("ships"))
    (folder / "leaderboard.csv").unlink()
    path = folder / "task.toml"
    path.write_text(
        path.read_text().replace('id = "tiny"', 'id = "ships"')
        + '\n[kaggle]\ncompetition = "titanic"\n'
    )
    path = folder / "prepare.py"
    path.write_text(
        path.read_text().replace(
            "    rng =", '    assert len(pd.read_csv(raw / "train.csv")) == 100\n    rng ='
        )
    )
    return folder


def test_a_task_of_a_competition_is_downloaded_prepared_and_cached(
    titanic: Path, shop: Kaggle, tmp_path: Path
) -> None:
    before = held(titanic)
    with pytest.raises(TaskError) as caught:
        prepare(spec.load(titanic))

    done = cli("tasks", "prepare", titanic, "--json", VERBOSE="1")
    again = cli("tasks", "prepare", titanic)

    assert str(caught.value) == (
        "ships needs the data of the Kaggle competition titanic, which is not here;"
        f" run: kernel-env tasks prepare {titanic}"
    )
    assert done.returncode == 0, done.stderr
    cache = tmp_path / "cache"
    task = spec.load(titanic)
    assert json.loads(done.stdout) == {
        "task": "ships",
        "raw": str(cache / "kaggle" / "titanic" / "raw"),
        "raw_mb": 0.4,
        "public": str(prepare(task).public),
        "leaderboard": "human (3)",
    }
    assert done.stderr.splitlines() == [
        "titanic: downloading",
        "titanic: unpacking",
        "titanic: downloading the leaderboard",
        "ships: preparing",
    ]
    assert (cache / "kaggle" / "titanic.leaderboard.csv").read_text() == (
        "entry,kind,public_score,private_score,seed,runtime_s\n"
        "team 11,human,0.8,0.8,,\nteam 12,human,0.9,0.85,,\nteam 13,human,0.7,0.75,,\n"
    )
    assert held(task.raw) == FILES
    assert is_prepared(task)
    assert again.returncode == 0
    assert again.stdout == f"ships: ready in {prepare(task).public.parent}\n"
    assert shop.downloads() == [""]
    assert held(titanic) == before
    left = sorted(path.name for path in (cache / "kaggle").iterdir())
    assert left == ["titanic", "titanic.leaderboard.csv", "titanic.lock"]
    written = [*held(cache).values(), done.stdout.encode(), done.stderr.encode()]
    assert not [secret for secret in SECRETS if any(secret.encode() in data for data in written)]
    assert shop.heard == [""]  # the key is for Kaggle and not for its file store


def test_an_embedded_task_is_just_prepared(shop: Kaggle) -> None:
    done = cli("tasks", "prepare", "image-segment", "adult-income", "--json")

    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["task"] for line in done.stdout.splitlines()]
    assert names == ["image-segment", "adult-income"]
    assert shop.asked == []


@pytest.mark.parametrize("kept", ["token file", "access_token", "kaggle.json", "variables"])
def test_every_kind_of_credentials_serves(
    shop: Kaggle, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir()
    match kept:
        case "token file":
            (tmp_path / "token").write_text(TOKEN + "\n")
            monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
        case "access_token":
            (folder / "access_token").write_text(TOKEN)
        case "kaggle.json":
            (folder / "kaggle.json").write_text(json.dumps({"username": USERNAME, "key": KEY}))
        case "variables":
            monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
            monkeypatch.setenv("KAGGLE_KEY", KEY)

    raw = source.download("titanic", into)

    assert held(raw) == FILES


NEW_TOKEN = (
    "make a new token at https://www.kaggle.com/settings/api and put it into KAGGLE_API_TOKEN"
    " or ~/.kaggle/access_token"
)


def test_missing_credentials_are_said(
    shop: Kaggle, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")

    assert complaint(into) == f"no credentials for Kaggle were found; {NEW_TOKEN}"


def test_a_token_that_has_expired_is_named_by_its_place(shop: Kaggle, into: Path) -> None:
    shop.active = False

    assert complaint(into) == (
        f"Kaggle does not accept KAGGLE_API_TOKEN (expired or revoked?); {NEW_TOKEN}"
    )


def test_a_key_that_was_revoked_is_named_by_its_place(
    shop: Kaggle, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"username": USERNAME, "key": "an-old-key"}))

    assert complaint(into) == (
        f'Kaggle does not accept {path} (401) and says "Unauthenticated"; {NEW_TOKEN}'
    )


@pytest.mark.parametrize(
    ("status", "words", "line"),
    [
        (
            403,
            f"You must accept this competition's rules, {TOKEN}",
            'Kaggle refuses titanic (403) and says "You must accept this competition\'s rules, …";'
            " accept the competition's rules at https://www.kaggle.com/competitions/titanic/rules"
            " and run it again",
        ),
        (429, "", "Kaggle asks to wait (429); run it again later"),
        (500, "", "Kaggle answered with status 500; run it again later"),
    ],
)
def test_an_answer_of_kaggle_is_a_clear_line(
    shop: Kaggle,
    into: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    words: str,
    line: str,
) -> None:
    monkeypatch.setattr(source, "PATIENCE", 1)
    shop.refuse["DownloadDataFiles"] = (status, words)

    assert complaint(into) == line


def test_a_competition_that_is_not_there_is_a_clear_line(shop: Kaggle, into: Path) -> None:
    assert complaint(into, "titanicc") == (
        "Kaggle knows no competition 'titanicc' (404) and says \"Competition not found\"; its name"
        " is the last part of its page's address, https://www.kaggle.com/competitions/NAME"
    )


def test_the_command_ends_with_that_line(titanic: Path, shop: Kaggle, tmp_path: Path) -> None:
    shop.refuse["DownloadDataFiles"] = (403, "")

    done = cli("tasks", "prepare", titanic, "--json")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: Kaggle refuses titanic (403); accept the competition's rules at"
        " https://www.kaggle.com/competitions/titanic/rules and run it again\n"
    )


@pytest.mark.parametrize("name", ["", "..", "../titanic", "a/b", "Titanic", "-h"])
def test_what_is_no_name_of_a_competition_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a Kaggle competition"):
        source.download(name, tmp_path / "x")


def test_without_the_client_the_extra_is_named(
    shop: Kaggle, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tmp_path / "packages" / "kaggle.py"
    nothing.parent.mkdir()
    nothing.write_text("raise ModuleNotFoundError(name='kaggle')")
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{nothing.parent}{os.pathsep}{path}")

    assert complaint(into) == (
        "Kaggle's client is not installed (no module named 'kaggle');"
        " run: pip install 'kernel-env[kaggle]'"
    )


def test_without_a_network_it_says_so_at_once(
    shop: Kaggle, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert complaint(into) == (
        "the connection to Kaggle failed (ProxyError); look at the network and at the proxy"
        " settings, and run it again"
    )


def test_a_connection_that_is_cut_goes_on_where_it_was(shop: Kaggle, into: Path) -> None:
    shop.cut = [CUT]

    raw = source.download("titanic", into)

    assert held(raw) == FILES
    assert shop.downloads() == ["", "", f"bytes={KEPT}-"]


def test_a_later_run_goes_on_where_an_earlier_one_ended(
    shop: Kaggle, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.cut = [CUT, None, 0]
    monkeypatch.setattr(source, "PATIENCE", 1)
    total = len(shop.blob)

    line = complaint(into)
    part = into.with_name("titanic.partial") / "titanic.zip.part"
    there = part.read_bytes()
    raw = source.download("titanic", into)

    assert line.endswith(f"; 0.1 of {total / 1e6:.1f} MB are kept, run it again to go on")
    assert there == shop.blob[:KEPT]
    assert held(raw) == FILES
    assert shop.downloads()[-2:] == ["", f"bytes={KEPT}-"]
    assert not part.parent.exists()


def test_a_store_that_ignores_the_range_sends_all_of_it_again(shop: Kaggle, into: Path) -> None:
    shop.cut, shop.ranges = [CUT], False

    raw = source.download("titanic", into)

    assert held(raw) == FILES
    assert shop.downloads() == ["", "", f"bytes={KEPT}-"]


def test_a_store_that_sends_another_part_than_it_says_is_found_out(
    shop: Kaggle, into: Path
) -> None:
    shop.cut, shop.wrong_part, total = [CUT], True, len(shop.blob)

    line = complaint(into)
    raw = source.download("titanic", into)

    assert line == broken(
        f"{total + KEPT:,} bytes came, Kaggle announced {total:,}; what came was removed, run it"
        " again"
    )
    assert held(raw) == FILES


def test_data_that_changed_meanwhile_is_not_pieced_together(
    shop: Kaggle, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.cut = [CUT]
    monkeypatch.setattr(source, "PATIENCE", 0)
    complaint(into)
    new = {**FILES, "images/1.png": NOISE[::-1]}
    shop.blob, shop.etag, shop.cut = archive(new), '"2"', []

    raw = source.download("titanic", into)

    assert held(raw) == new


def test_what_is_not_what_was_announced_is_removed(shop: Kaggle, into: Path) -> None:
    blob, partial = shop.blob, into.with_name("titanic.partial")
    shop.blob = blob[:200_000]
    shop.length = -1  # no length, and the end of the connection is the end of the file
    shop.md5 = False
    no_zip = complaint(into)
    kept = list(partial.iterdir())

    shop.blob, shop.length, shop.md5 = bytes([*blob[:99], blob[99] ^ 1, *blob[100:]]), None, False
    crc = complaint(into)

    assert no_zip == broken(
        "titanic.zip is no whole zip archive: File is not a zip file; it was removed, run it again"
    )
    assert kept == []
    assert crc.startswith(broken("titanic.zip is broken at"))
    assert crc.endswith("; it was removed, run it again")
    assert list(partial.iterdir()) == []


def test_the_stores_own_checksum_is_compared(shop: Kaggle, into: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"hello world")
    good = {"bytes": 11, "md5": "5eb63bbbe01eeed093cb22bb8f5acdc3"}

    assert source.flaw(part, good) == ""
    assert source.flaw(part, {**good, "bytes": 12}) == "11 bytes came, Kaggle announced 12"
    assert source.flaw(part, {**good, "md5": "0"}) == (
        "its md5 is 5eb63bbbe01eeed093cb22bb8f5acdc3, Kaggle announced 0"
    )
    assert source.flaw(tmp_path / "none", {}) == "nothing came"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """600 kB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_a_clear_line_and_what_came_is_kept(shop: Kaggle, small_disk: Path) -> None:
    into = small_disk / "titanic"
    room = "make room, or move the cache with KERNEL_ENV_CACHE, and run it again"
    filler = small_disk / "filler"

    filler.write_bytes(bytes(400_000))
    told = complaint(into)  # it does not fit, and that is known before a byte comes
    before = shop.downloads()

    shop.length = -1  # … unless the length is not told
    full = complaint(into)
    part = small_disk / "titanic.partial" / "titanic.zip.part"
    kept = part.stat().st_size

    filler.unlink()  # room for the archive, but not for what is in it
    shop.length = None
    unpacked = complaint(into)
    asked = len(shop.asked)
    shutil.copytree(small_disk / "titanic.partial", small_disk.with_name("titanic.partial"))
    raw = source.download("titanic", small_disk.with_name("titanic"))

    assert told.startswith(f"titanic needs 0.4 MB more in {part.parent} and 0.2 MB are free; ")
    assert told.endswith(room)
    assert before == [""]
    assert 100_000 < kept < 250_000
    assert full == (
        f"titanic cannot be written: No space left on device; {room};"
        f" {kept / 1e6:.1f} MB are kept, run it again to go on"
    )
    assert unpacked.startswith(f"titanic needs 0.4 MB more in {part.parent} and 0.2 MB are free; ")
    assert held(raw) == FILES
    assert len(shop.asked) == asked  # the archive was there


def test_a_cache_that_cannot_be_written_is_a_clear_line(shop: Kaggle) -> None:
    assert complaint(Path("/proc/nope/titanic")) == (
        "titanic cannot be kept in /proc/nope: No such file or directory; see to that, or move the"
        " cache with KERNEL_ENV_CACHE, and run it again"
    )
    assert shop.asked == []


def test_a_download_that_stands_still_is_given_up(
    shop: Kaggle, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.cut, shop.hang = [CUT], True
    monkeypatch.setattr(source, "STALL_S", 2.0)

    line = complaint(into)
    shop.hang = False
    raw = source.download("titanic", into)

    assert line == (
        "nothing came from Kaggle for 2 s; look at the network, and run it again to go on"
    )
    assert held(raw) == FILES
    assert shop.downloads() == ["", "", f"bytes={KEPT}-"]


def test_a_command_that_is_killed_takes_its_client_along_and_loses_nothing(
    titanic: Path, shop: Kaggle, tmp_path: Path
) -> None:
    shop.cut, shop.hang = [CUT], True
    part = tmp_path / "cache" / "kaggle" / "titanic.partial" / "titanic.zip.part"
    argv = [sys.executable, "-m", "kernel_env.cli", "tasks", "prepare", str(titanic)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as command:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size == KEPT)
            (client,) = children(command.pid)
        finally:
            command.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{client}").exists())
    shop.hang = False
    task = obtain(spec.load(titanic))

    assert held(task.raw) == FILES
    assert shop.downloads() == ["", "", f"bytes={KEPT}-"]


def test_an_interrupted_command_says_how_to_go_on(
    titanic: Path, shop: Kaggle, tmp_path: Path
) -> None:
    shop.cut, shop.hang = [CUT], True
    part = tmp_path / "cache" / "kaggle" / "titanic.partial" / "titanic.zip.part"
    argv = [sys.executable, "-m", "kernel_env.cli", "tasks", "prepare", str(titanic)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as command:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size == KEPT)
        finally:
            command.send_signal(signal.SIGINT)
        _, said = command.communicate()

    assert command.returncode == 130
    assert said == (
        "titanic: downloading\n"
        "error: interrupted; what has arrived is kept, run it again to go on\n"
    )
    assert part.stat().st_size == KEPT


def wait_until(holds: object) -> None:
    end = time.monotonic() + 30
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_that_want_the_same_download_it_once(shop: Kaggle, into: Path) -> None:
    said: list[str] = []
    both = [
        threading.Thread(
            target=source.download, args=("titanic", into, lambda text, _: said.append(text))
        )
        for _ in range(2)
    ]

    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert held(into / "raw") == FILES
    assert shop.downloads() == [""]
    assert "titanic: waiting for another process that is downloading it" in said


def test_an_archive_that_would_leave_its_folder_is_refused(shop: Kaggle, into: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    shop.blob = archive({"fine.csv": b"1", link: b"/etc/passwd"})  # type: ignore[dict-item]

    line = complaint(into)

    assert line == broken(
        "titanic.zip is refused: 'link' is a link or a special file; it was removed, run it again"
    )


def test_raw_files_are_those_that_were_downloaded_and_that_the_author_named(
    titanic: Path, shop: Kaggle
) -> None:
    task = obtain(spec.load(titanic))
    recorded = source.sums(task.raw.parent)["train.csv"]["sha256"]
    with (titanic / "task.toml").open("a") as file:
        file.write(f'\n[raw]\n"train.csv" = "{"0" * 64}"\n')

    with pytest.raises(TaskError) as named:
        prepare(spec.load(titanic))
    (task.raw / "train.csv").write_text("x,y\n")
    with pytest.raises(TaskError) as changed:
        prepare(task)

    path = task.raw / "train.csv"
    assert str(named.value) == f"{path} has the sha256 {recorded}; task.toml wants {'0' * 64}"
    assert str(changed.value).endswith(
        f"; it was {recorded} when it was downloaded; remove {task.raw.parent} and"
        f" run: kernel-env tasks prepare {titanic}"
    )
    assert not is_prepared(task)


def test_a_competition_without_a_private_board_says_so(shop: Kaggle, tmp_path: Path) -> None:
    shop.private = None

    said = source.leaderboard("titanic", tmp_path / "leaderboard.csv")

    assert said == "3 teams, one board for both scores, Kaggle shows no other"


def test_a_competition_without_a_leaderboard_wants_one_from_the_author(
    titanic: Path, shop: Kaggle
) -> None:
    shop.refuse["GetLeaderboard"] = (404, "Leaderboard not found")

    with pytest.raises(DownloadError) as caught:
        obtain(spec.load(titanic))
    (titanic / "leaderboard.csv").write_text(
        "entry,kind,public_score,private_score,seed,runtime_s\na,human,1,1,,\n"
    )

    assert str(caught.value) == (
        "Kaggle shows no leaderboard of titanic; the task's folder needs a leaderboard.csv of its"
        " own"
    )
    assert obtain(spec.load(titanic)).leaderboard.public == (1.0,)
    assert shop.downloads() == [""]


def test_a_task_of_another_benchmark_is_downloaded_where_its_own_code_can_prepare_it(
    shop: Kaggle, tmp_path: Path
) -> None:
    homes = checkouts.mle_bench(tmp_path / "checkout") / "mlebench" / "competitions"
    (homes / "ripe-fruit").rename(homes / "titanic")
    config = checkouts.BENCH_CONFIG.format(id="titanic", answers="test.csv", metric="rmse")
    (homes / "titanic" / "config.yaml").write_text(config)
    checkouts.archive(tmp_path / "raw" / "table.zip")
    files = {"table.zip": (tmp_path / "raw" / "table.zip").read_bytes()}
    shop.blob = archive(files)
    theirs = {"XDG_CACHE_HOME": str(tmp_path / "theirs")}

    imported = cli("tasks", "import", "mle-bench", homes.parents[1], "titanic", "--json", **theirs)
    done = cli("tasks", "prepare", "mle-bench-titanic", **theirs)

    row = json.loads(imported.stdout)
    assert (row["readiness"], row["todo"]) == (
        "needs data",
        "run: kernel-env tasks prepare mle-bench-titanic (which downloads it from Kaggle); or"
        " run `mlebench prepare -c titanic`, or import again with --data FOLDER",
    )
    assert done.returncode == 0, done.stderr
    public = prepare(catalog.find("mle-bench-titanic")).public
    assert len((public / "test.csv").read_text().splitlines()) == 11
    assert held(tmp_path / "cache" / "kaggle" / "titanic" / "raw") == files
