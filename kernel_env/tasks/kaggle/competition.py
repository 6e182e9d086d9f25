"""The data and the leaderboards of Kaggle competitions, through Kaggle's own client.

`download` gives a folder with a competition's files, whole or not at all:

    titanic/                    made at the very end, by renaming
      raw/                      the files, as Kaggle's archive holds them
      checksums.json            size and sha256 of each
    titanic.partial/            what has arrived so far
      titanic.zip.part          goes on where it ended, in this run or in a later one
      titanic.zip               has arrived, and waits to be unpacked
    titanic.lock                one download at a time
    titanic.leaderboard.csv     both leaderboards, where Kaggle shows them

Kaggle's client runs in a process of its own (`kaggle_client`); the user's keys are its
business alone and come neither here nor into any message.
"""

import csv
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, Self

from kernel_env import cache
from kernel_env.errors import DownloadError, UsageError

Progress = Callable[[str, float | None], None]
"""Told what is being done, and how much of it is."""

SITE = "https://www.kaggle.com"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
RAW, CHECKSUMS = "raw", "checksums.json"
STALL_S = 180.0
"""Without a byte or a word from the client, before it is given up."""
PATIENCE = 5
"""Attempts in a row that bring nothing, with growing pauses: about half a minute."""
LOOK_S = 0.2
"""Between two looks at how much has arrived."""


def silent(text: str, done: float | None) -> None:
    """A progress that tells nobody."""


def place(competition: str) -> Path:
    """The folder of a competition in the cache."""
    return cache.folder() / "kaggle" / competition


def board_file(competition: str) -> Path:
    """Where a competition's leaderboards are kept in the cache."""
    return place(f"{competition}.leaderboard.csv")


def is_whole(folder: Path) -> bool:
    """Whether everything of a competition is in this folder of its own."""
    return (folder / CHECKSUMS).is_file()


def sums(folder: Path) -> dict[str, dict[str, Any]]:
    """The `bytes` and the `sha256` of each file in `raw`, as they were when they came."""
    found: dict[str, dict[str, Any]] = json.loads((folder / CHECKSUMS).read_text())
    return found


def download(competition: str, into: Path, tell: Progress = silent) -> Path:
    """The folder `raw` in `into` with all files of a competition; nothing is done when it is there.

    An interrupted download goes on with the next call. Raises `DownloadError`, with what to
    do about it, and `UsageError` for what is no name of a competition.
    """
    if not NAME.fullmatch(competition):
        raise UsageError(
            f"{competition!r} is no name of a Kaggle competition; take it from the address of"
            f" the competition's page, {SITE}/competitions/NAME"
        )
    partial = into.with_name(f"{into.name}.partial")
    if is_whole(into) and not partial.exists():
        return into / RAW
    try:
        with alone(into, tell):
            if not is_whole(into):
                partial.mkdir(exist_ok=True)
                archive = partial / f"{competition}.zip"
                if not archive.exists():
                    fetch(competition, archive, tell)
                settle(competition, archive, into, tell)
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DownloadError(
            f"{competition} cannot be kept in {into.parent}: {error.strerror or error};"
            f" {advice(error.errno)}"
        ) from error
    return into / RAW


@contextmanager
def alone(into: Path, tell: Progress) -> Iterator[None]:
    """One process at a time in a folder. The lock ends with its holder, however that ends."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with into.with_name(f"{into.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"{into.name}: waiting for another process that is downloading it", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(competition: str, archive: Path, tell: Progress) -> None:
    """Let an archive arrive; it gets its name when it is whole."""
    part = archive.with_name(f"{archive.name}.part")
    wanted: dict[str, Any] = {}
    job = {"what": "data", "competition": competition, "archive": str(part)}
    with Client({**job, "patience": PATIENCE}) as client:
        for message in client.messages(part):
            if message["kind"] == "arriving":
                wanted = message
                refuse_a_small_disk(competition, part, wanted["bytes"])
            have, total = size(part), wanted.get("bytes")
            if message["kind"] == "failed":
                fail(competition, message, kept=megabytes(have, total) if have else "")
            if wanted:
                done = have / total if total else None
                tell(f"{competition}: downloading · {megabytes(have, total)}", done)
    why = flaw(part, wanted)
    if why:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"the download of {competition} is broken: {why}; what came was removed, run it again"
        )
    part.rename(archive)


def settle(competition: str, archive: Path, into: Path, tell: Progress) -> None:
    """Unpack an archive that has arrived, and give the folder its name when all of it is there."""
    from kernel_env.tasks.kaggle.unpack import members, total_bytes, unpack

    making = archive.with_name("unpacked")
    shutil.rmtree(making, ignore_errors=True)  # of one that was killed
    try:
        refuse_a_small_disk(competition, making, total_bytes(members(archive)))
        (making / RAW).mkdir(parents=True)
        found = unpack(archive, making / RAW, lambda done: tell(f"{competition}: unpacking", done))
        text = json.dumps({name: asdict(each) for name, each in sorted(found.items())}, indent=1)
        (making / CHECKSUMS).write_text(text + "\n")
        making.rename(into)
    except NoRoomError:
        raise
    except DownloadError as error:
        archive.unlink(missing_ok=True)  # it would be as bad the next time
        raise DownloadError(
            f"the download of {competition} is broken: {error}; it was removed, run it again"
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def flaw(part: Path, wanted: dict[str, Any]) -> str:
    """What is wrong with what came; empty when nothing is."""
    have = size(part)
    if wanted.get("bytes") not in (None, have):
        return f"{have:,} bytes came, Kaggle announced {wanted['bytes']:,}"
    if not have:
        return "nothing came"
    if wanted.get("md5"):
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if found.hexdigest() != wanted["md5"]:
            return f"its md5 is {found.hexdigest()}, Kaggle announced {wanted['md5']}"
    return ""


def size(path: Path) -> int:
    """Of a file, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


class NoRoomError(DownloadError):
    """The disk is too small; what has arrived is good."""


def refuse_a_small_disk(competition: str, path: Path, needs: int | None) -> None:
    """Say it before the hours that a download takes, not after."""
    missing = (needs or 0) - (size(path) if path.is_file() else 0)
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise NoRoomError(
            f"{competition} needs {megabytes(missing)} more in {path.parent} and"
            f" {megabytes(free)} are free; {advice(errno.ENOSPC)}"
        )


def advice(reason: int | None) -> str:
    """What to do about a disk, by the number of its error."""
    full = reason in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    todo = "make room" if full else "see to that"
    return f"{todo}, or move the cache with KERNEL_ENV_CACHE, and run it again"


def megabytes(have: int, total: int | None = None) -> str:
    """How much, for people.

    >>> megabytes(1_200_000, 93_081_000)
    '1.2 of 93.1 MB'
    """
    return f"{have / 1e6:,.1f}" + (f" of {total / 1e6:,.1f} MB" if total else " MB")


def fail(competition: str, message: dict[str, Any], *, kept: str) -> NoReturn:
    """What was found and what to do, in one line."""
    page, settings = f"{SITE}/competitions/{competition}", f"{SITE}/settings/api"
    words = message.get("words", "")
    source = message.get("source", "")
    says = f' and says "{words}"' if words else ""
    again = f"; {kept} are kept, run it again to go on" if kept else ""
    new_token = (
        f"make a new token at {settings} and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
    )
    match message["what"], message.get("status"):
        case "client", _:
            text = (
                f"Kaggle's client is not installed (no module named {words!r});"
                " run: pip install 'kernel-env[kaggle]'"
            )
        case "credentials", _ if not source:
            text = f"no credentials for Kaggle were found; {new_token}"
        case "credentials", _:
            text = f"Kaggle does not accept {source} (expired or revoked?); {new_token}"
        case "status", 401:
            text = f"Kaggle does not accept {source or 'the key'} (401){says}; {new_token}"
        case "status", 403:
            text = (
                f"Kaggle refuses {competition} (403){says};"
                f" accept the competition's rules at {page}/rules and run it again"
            )
        case "status", 404:
            text = (
                f"Kaggle knows no competition {competition!r} (404){says};"
                f" its name is the last part of its page's address, {SITE}/competitions/NAME"
            )
        case "status", 429:
            text = f"Kaggle asks to wait (429){says}; run it again later"
        case "store", status:
            text = f"Kaggle's file store answered with status {status}; run it again later"
        case "status", status:
            text = f"Kaggle answered with status {status}{says}; run it again later"
        case "network", _:
            text = (
                f"the connection to Kaggle failed ({words}); look at the network and at the"
                " proxy settings, and run it again"
            )
        case "disk", _:
            text = f"{competition} cannot be written: {words}; {advice(message['errno'])}"
        case _:
            text = f"Kaggle's client failed with {words}; run it again, or another version of it"
    raise DownloadError(text + again)


class Client:
    """Kaggle's client in its process: entering starts it, leaving ends it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._argv = [
            sys.executable,
            "-P",
            "-m",
            "kernel_env.tasks.kaggle.client_process",
            json.dumps(job),
        ]

    def __enter__(self) -> Self:
        loud = ("VERBOSE", "VERBOSE_OUTPUT")  # with these the client prints the headers it sends
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,  # held open: its end tells the client that we are gone
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in loud},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def messages(self, growing: Path | None = None) -> Iterator[dict[str, Any]]:
        """What it says, and a `looked` between, until it is done, has failed or has ended.

        Raises `DownloadError` when neither a word nor a byte came for long.
        """
        assert self._process.stdout is not None
        said = b""
        seen, last = -1, time.monotonic()
        while True:
            ready, _, _ = select.select([self._process.stdout], [], [], LOOK_S)
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not data:
                yield {"kind": "failed", "what": "client's", "words": "an early end"}
                return
            *lines, said = (said + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["kind"] == "done":
                    return
                last = time.monotonic() + message.get("seconds", 0)
                yield message
                if message["kind"] == "failed":
                    return
            now = size(growing) if growing else 0
            if now != seen:
                seen, last = now, max(last, time.monotonic())
                yield {"kind": "looked"}
            if time.monotonic() - last > STALL_S:
                raise DownloadError(
                    f"nothing came from Kaggle for {STALL_S:.0f} s; look at the network,"
                    " and run it again to go on"
                )


def leaderboard(competition: str, path: Path, tell: Progress = silent) -> str:
    """Write a competition's leaderboards as a task's `leaderboard.csv`; what is in it, for people.

    Raises `DownloadError`.
    """
    tell(f"{competition}: downloading the leaderboard", None)
    public: dict[int, float] = {}
    private: dict[int, float] = {}
    with Client({"what": "boards", "competition": competition}) as client:
        for message in client.messages():
            match message["kind"]:
                case "boards":
                    public, private = scores(message["public"]), scores(message["private"])
                case "failed" if message.get("status") not in (403, 404):
                    fail(competition, message, kept="")
    teams = [team for team in public if team in private]
    if not teams:
        raise DownloadError(
            f"Kaggle shows no leaderboard of {competition}; the task's folder needs a"
            " leaderboard.csv of its own"
        )
    making = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with making.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["entry", "kind", "public_score", "private_score", "seed", "runtime_s"])
            rows.writerows(
                [f"team {team}", "human", public[team], private[team], "", ""] for team in teams
            )
        making.rename(path)
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}; {advice(error.errno)}"
        ) from error
    finally:
        making.unlink(missing_ok=True)
    both = (
        "one board for both scores, Kaggle shows no other" if public == private else "both boards"
    )
    return f"{len(teams):,} teams, {both}"


def scores(rows: list[tuple[int, str]]) -> dict[int, float]:
    """Each team's score; a team that has none, or none that is a number, is not on the board."""
    found = {}
    for team, text in rows:
        try:
            score = float(text)
        except ValueError:
            continue
        if math.isfinite(score):
            found[team] = score
    return found
