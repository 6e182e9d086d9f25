"""Kaggle's own client in a process of its own, `python -m kernel_env.tasks.kaggle.client_process`.

Importing the client signs in and makes folders; it speaks on stdout, prints keys there
where VERBOSE is set, ends the process where no token is found, sleeps over a full disk
and has no time-out. So it gets a process without a voice, and what matters is told in
lines of JSON, each with a `kind`:

    arriving   bytes (null when unknown) and md5 (likewise): the archive is about to come
    waiting    seconds: Kaggle or the connection needs a pause
    boards     public and private: lists of [team, score]
    done       the job is done
    failed     what, and for some of them words, status, source, errno

An exception's own words are not told, because addresses of files are signed and carry
the right to read them. What Kaggle itself answers is, without the keys.
"""

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

TRIES = 3
"""Of a page of the leaderboard."""
CHUNK = 1 << 16
"""What a broken connection can cost again."""
LONGEST_PAUSE_S = 60.0
LONGEST_WORDS = 200
PAGE = 200
"""Teams in one answer, the most that Kaggle gives."""
CREDENTIALS = "~/.kaggle/credentials.json"
"""Where `kaggle auth login` keeps what it got."""

Say = Callable[..., None]


def main() -> None:
    """Do the job that the first argument describes."""
    job = json.loads(sys.argv[1])
    voice = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    threading.Thread(target=end_with_the_host, daemon=True).start()

    def say(kind: str, **more: Any) -> None:
        print(json.dumps({"kind": kind, **more}), file=voice, flush=True)

    try:
        import kaggle
        import requests
    except ModuleNotFoundError as error:
        say("failed", what="client", words=error.name or "kaggle")
        return
    except (ImportError, OSError) as error:  # of the wrong version; no home to write in
        say("failed", what="client's", words=str(error))
        return
    source = where_from()
    try:
        sign_in(kaggle.api)
        if job["what"] == "data":
            data(kaggle.api, job["competition"], Path(job["archive"]), job["patience"], say)
        else:
            say("boards", **boards(kaggle.api, job["competition"]))
    except SystemExit:
        say("failed", what="credentials", source=source)
    except requests.exceptions.HTTPError as error:
        what = "store" if error.response.request.method == "GET" else "status"
        said = words(kaggle.api, error)
        say("failed", what=what, status=error.response.status_code, source=source, words=said)
    except requests.exceptions.RequestException as error:
        say("failed", what="network", words=type(error).__name__)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        say("failed", what="disk", words=reason, errno=error.errno)
    except Exception as error:  # noqa: BLE001 - it is somebody else's program; the kind is told
        say("failed", what="client's", words=type(error).__name__)
    else:
        say("done")


def end_with_the_host() -> None:
    """Nobody writes to our stdin, so that it ends when the host does, however it does."""
    while os.read(0, 1):
        pass
    os._exit(1)


def where_from() -> str:
    """Which credentials there are, in the order in which the client looks; empty for none."""
    from kagglesdk import get_access_token_from_env

    token, source = get_access_token_from_env()
    if token:
        return "~/.kaggle/access_token" if source == "access_token" else str(source)
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    from kaggle import KaggleApi

    if Path(KaggleApi.config).is_file():
        return str(KaggleApi.config)
    return CREDENTIALS if Path(CREDENTIALS).expanduser().is_file() else ""


def sign_in(api: Any) -> None:
    """Learn why the import could not sign in, which it keeps to itself."""
    if api.CONFIG_NAME_AUTH_METHOD not in api.config_values:
        api.authenticate()


def data(api: Any, competition: str, archive: Path, patience: int, say: Say) -> None:
    """All files of a competition as one archive; goes on where an earlier attempt ended.

    Once bytes have come, `patience` attempts in a row may bring none before it is given up.
    The client tries again by itself, but at an address that may have expired, and over a
    full disk too; so each attempt here asks Kaggle anew and is the client's only one.
    """
    import requests

    fruitless = 0
    came = False
    while True:
        before = size(archive)
        try:
            attempt(api, competition, archive, say)
        except requests.exceptions.RequestException as error:
            if not passing(error):
                raise
            grew = size(archive) > before
            came |= grew
            fruitless = 0 if grew else fruitless + 1
            if fruitless >= patience or not (came or rate_limited(error)):
                raise
            pause = pause_s(error, fruitless)
            say("waiting", seconds=pause)
            time.sleep(pause)
        else:
            return


def attempt(api: Any, competition: str, archive: Path, say: Say) -> None:
    """One request and what it brings."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    with api.build_kaggle_client() as client:
        request = ApiDownloadDataFilesRequest()
        request.competition_name = competition
        response = client.competitions.competition_api_client.download_data_files(request)
        length = response.headers.get("Content-Length")
        say(
            "arriving",
            bytes=int(length) if length else None,
            md5=md5_of(response.headers.get("x-goog-hash", "")),
        )
        with suppress(ValueError):  # another length than announced: the host looks at that
            api.download_file(
                response,
                str(archive),
                client.http_client(),
                quiet=True,
                resume=True,
                chunk_size=CHUNK,
                max_retries=0,
            )


def size(path: Path) -> int:
    """Of a file, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def passing(error: Any) -> bool:
    """Whether a failure may be another one in a moment: a lost connection, a busy server."""
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def rate_limited(error: Any) -> bool:
    """Whether Kaggle asks for a pause."""
    response = getattr(error, "response", None)
    return response is not None and response.status_code == 429


def pause_s(error: Any, fruitless: int) -> float:
    """As long as Kaggle asks for, otherwise growing."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked) if asked.isdecimal() else 2.0**fruitless, LONGEST_PAUSE_S)


def md5_of(header: str) -> str | None:
    """The hexadecimal MD5 in Google Cloud Storage's header; large files come without one.

    >>> md5_of("crc32c=yZRlqg==, md5=XrY7u+Ae7tCTyyK7j1rNww==")
    '5eb63bbbe01eeed093cb22bb8f5acdc3'
    """
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "md5":
            return base64.b64decode(value).hex()
    return None


def boards(api: Any, competition: str) -> dict[str, list[tuple[int, str]]]:
    """Both leaderboards. The same one twice where the competition shows no private one."""
    return {
        "public": board(api, competition, public=True),
        "private": board(api, competition, public=False),
    }


def board(api: Any, competition: str, *, public: bool) -> list[tuple[int, str]]:
    """Every team and its score, page by page."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    rows: list[tuple[int, str]] = []
    request = ApiGetLeaderboardRequest()
    request.competition_name = competition
    request.override_public = public
    request.page_size = PAGE
    with api.build_kaggle_client() as client:
        ask = api.with_retry(
            client.competitions.competition_api_client.get_leaderboard, max_retries=TRIES
        )
        while True:
            page = ask(request)
            rows += [(team.team_id, team.score or "") for team in page.submissions or []]
            if not page.next_page_token or not page.submissions:
                return rows
            request.page_token = page.next_page_token


def words(api: Any, error: Any) -> str:
    """What Kaggle itself said, in one short line without the user's keys."""
    from kagglesdk import get_access_token_from_env

    try:
        said = str(error.response.json()["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    config = api.config_values
    keys = [get_access_token_from_env()[0], config.get("key"), config.get("token")]
    for key in filter(None, keys):
        said = said.replace(key, "…")
    return " ".join(said.split())[:LONGEST_WORDS]


if __name__ == "__main__":
    main()
