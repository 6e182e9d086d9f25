"""Run Kaggle's client in a separate process, `python -m kernel_env.tasks.kaggle.client_process`.

Importing the client signs in and creates folders. It prints to stdout, also keys if VERBOSE is
set. It ends the process if no token is found, sleeps and retries if the disk is full, and has no
time-out. So its stdout and stderr are closed, and the process reports to the host in lines of
JSON, each with a `kind`:

    arriving   bytes and md5 (null if unknown): the response with the archive begins
    waiting    seconds: a pause before the next attempt
    boards     public and private: lists of [team, score]
    done       the job is done
    failed     what; for some failures also words, status, source, errno

The text of an exception is not reported, because it can contain the signed address of a file,
which gives the right to read it. Kaggle's own messages are reported without the keys.
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

LEADERBOARD_RETRIES = 3
"""The number of retries for one page of the leaderboard."""
CHUNK_BYTES = 1 << 16
"""The size of one read; a lost connection loses at most this much of what was received."""
MAX_PAUSE_S = 60.0
MAX_MESSAGE_CHARACTERS = 200
TEAMS_PER_PAGE = 200
"""The maximum that Kaggle allows."""
CREDENTIALS = "~/.kaggle/credentials.json"
"""The file that `kaggle auth login` writes."""

Report = Callable[..., None]
"""(kind, **fields): writes a message to the host."""


def main() -> None:
    """Do the job that the first argument describes in JSON."""
    job = json.loads(sys.argv[1])
    output = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    threading.Thread(target=exit_with_host, daemon=True).start()

    def report(kind: str, **fields: Any) -> None:
        print(json.dumps({"kind": kind, **fields}), file=output, flush=True)

    try:
        import kaggle
        import requests
    except ModuleNotFoundError as error:
        report("failed", what="client", words=error.name or "kaggle")
        return
    except (ImportError, OSError) as error:  # a wrong version, or no writable home
        report("failed", what="client's", words=str(error))
        return
    source = credentials_source()
    try:
        sign_in(kaggle.api)
        if job["what"] == "data":
            download(kaggle.api, job["competition"], Path(job["archive"]), job["patience"], report)
        else:
            report("boards", **leaderboards(kaggle.api, job["competition"]))
    except SystemExit:
        report("failed", what="credentials", source=source)
    except requests.exceptions.HTTPError as error:
        what = "store" if error.response.request.method == "GET" else "status"
        message = kaggle_message(kaggle.api, error)
        status = error.response.status_code
        report("failed", what=what, status=status, source=source, words=message)
    except requests.exceptions.RequestException as error:
        report("failed", what="network", words=type(error).__name__)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        report("failed", what="disk", words=reason, errno=error.errno)
    except Exception as error:  # noqa: BLE001 - the client is external code; only the type is reported
        report("failed", what="client's", words=type(error).__name__)
    else:
        report("done")


def exit_with_host() -> None:
    """Exit when the host exits.

    The host holds the other end of stdin open and writes nothing, so stdin ends even if the host
    is killed.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


def credentials_source() -> str:
    """Return the name of the credentials that the client uses; empty if there are none.

    The order is the client's.
    """
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
    """Sign in again if the import could not, because the import hides the error."""
    if api.CONFIG_NAME_AUTH_METHOD not in api.config_values:
        api.authenticate()


def download(api: Any, competition: str, archive: Path, patience: int, report: Report) -> None:
    """Download all files of a competition as one archive; resume an earlier download.

    The client's own retries use an address that can have expired, and they also repeat after a
    disk error. So each attempt here requests a new address and turns the client's retries off.

    Args:
        api: Kaggle's client.
        competition: the competition's name.
        archive: the file to write or to resume.
        patience: the number of attempts in a row without a new byte after which the download
            fails. Before the first byte, only a rate limit leads to another attempt.
        report: writes a message to the host.
    """
    import requests

    failures = 0
    has_received = False
    while True:
        before = size(archive)
        try:
            download_once(api, competition, archive, report)
        except requests.exceptions.RequestException as error:
            if not is_transient(error):
                raise
            has_grown = size(archive) > before
            has_received |= has_grown
            failures = 0 if has_grown else failures + 1
            if failures >= patience or not (has_received or is_rate_limited(error)):
                raise
            pause = pause_s(error, failures)
            report("waiting", seconds=pause)
            time.sleep(pause)
        else:
            return


def download_once(api: Any, competition: str, archive: Path, report: Report) -> None:
    """Request the archive once and append what arrives."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    with api.build_kaggle_client() as client:
        request = ApiDownloadDataFilesRequest()
        request.competition_name = competition
        response = client.competitions.competition_api_client.download_data_files(request)
        length = response.headers.get("Content-Length")
        report(
            "arriving",
            bytes=int(length) if length else None,
            md5=md5_of(response.headers.get("x-goog-hash", "")),
        )
        with suppress(ValueError):  # the length differs from the header; the host checks it
            api.download_file(
                response,
                str(archive),
                client.http_client(),
                quiet=True,
                resume=True,
                chunk_size=CHUNK_BYTES,
                max_retries=0,
            )


def size(path: Path) -> int:
    """Return a file's size in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def is_transient(error: Any) -> bool:
    """Return whether a retry can succeed: a lost connection or a busy server."""
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def is_rate_limited(error: Any) -> bool:
    """Return whether Kaggle limits the rate of requests (status 429)."""
    response = getattr(error, "response", None)
    return response is not None and response.status_code == 429


def pause_s(error: Any, failures: int) -> float:
    """Return the pause in seconds before the next attempt.

    It is Kaggle's `Retry-After`, or else an exponential backoff.
    """
    response = getattr(error, "response", None)
    retry_after = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(retry_after) if retry_after.isdecimal() else 2.0**failures, MAX_PAUSE_S)


def md5_of(header: str) -> str | None:
    """Read the MD5 from Google Cloud Storage's header, as hexadecimal text.

    None if the header has no MD5, as for large files.

    >>> md5_of("crc32c=yZRlqg==, md5=XrY7u+Ae7tCTyyK7j1rNww==")
    '5eb63bbbe01eeed093cb22bb8f5acdc3'
    """
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "md5":
            return base64.b64decode(value).hex()
    return None


def leaderboards(api: Any, competition: str) -> dict[str, list[tuple[int, str]]]:
    """Download both leaderboards; they are equal if the competition shows no private one."""
    return {
        "public": leaderboard(api, competition, public=True),
        "private": leaderboard(api, competition, public=False),
    }


def leaderboard(api: Any, competition: str, *, public: bool) -> list[tuple[int, str]]:
    """Download every team's id and score, page by page."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    rows: list[tuple[int, str]] = []
    request = ApiGetLeaderboardRequest()
    request.competition_name = competition
    request.override_public = public
    request.page_size = TEAMS_PER_PAGE
    with api.build_kaggle_client() as client:
        get_page = api.with_retry(
            client.competitions.competition_api_client.get_leaderboard,
            max_retries=LEADERBOARD_RETRIES,
        )
        while True:
            page = get_page(request)
            rows += [(team.team_id, team.score or "") for team in page.submissions or []]
            if not page.next_page_token or not page.submissions:
                return rows
            request.page_token = page.next_page_token


def kaggle_message(api: Any, error: Any) -> str:
    """Return the message in Kaggle's response, in one short line without the user's keys."""
    from kagglesdk import get_access_token_from_env

    try:
        message = str(error.response.json()["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    config = api.config_values
    keys = [get_access_token_from_env()[0], config.get("key"), config.get("token")]
    for key in filter(None, keys):
        message = message.replace(key, "…")
    return " ".join(message.split())[:MAX_MESSAGE_CHARACTERS]


if __name__ == "__main__":
    main()
