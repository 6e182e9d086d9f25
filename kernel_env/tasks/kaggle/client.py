"""Control the process that runs Kaggle's client, and explain its failures.

The user's keys stay in that process: they are neither in its messages nor in an error.
"""

import errno
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

from kernel_env.errors import DownloadError

SITE = "https://www.kaggle.com"
STALL_S = 180.0
"""The download fails after this time without a byte or a message from the client."""
POLL_S = 0.2
"""The interval at which the size of the growing file is read."""


class ClientProcess:
    """Kaggle's client in a separate process, from entering the block until leaving it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._argv = [
            sys.executable,
            "-P",
            "-m",
            "kernel_env.tasks.kaggle.client_process",
            json.dumps(job),
        ]

    def __enter__(self) -> Self:
        verbose = ("VERBOSE", "VERBOSE_OUTPUT")  # with these the client prints the headers it sends
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,  # stays open: its end tells the client that the host is gone
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in verbose},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def messages(self, growing: Path | None = None) -> Iterator[dict[str, Any]]:
        """Yield the client's messages until it is done, has failed or has exited.

        A message of the kind `grown` is added when the size of the file `growing` changes.

        Raises:
            DownloadError: neither a message nor a byte arrived for `STALL_S` seconds.
        """
        assert self._process.stdout is not None
        buffer = b""
        last_size, last_change = -1, time.monotonic()
        while True:
            ready, _, _ = select.select([self._process.stdout], [], [], POLL_S)
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not data:
                yield {"kind": "failed", "what": "client's", "words": "an early exit"}
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["kind"] == "done":
                    return
                last_change = time.monotonic() + message.get("seconds", 0)
                yield message
                if message["kind"] == "failed":
                    return
            now = size(growing) if growing else 0
            if now != last_size:
                last_size, last_change = now, max(last_change, time.monotonic())
                yield {"kind": "grown"}
            if time.monotonic() - last_change > STALL_S:
                raise DownloadError(
                    f"nothing arrived from Kaggle for {STALL_S:.0f} s; check the network,"
                    " and run it again to resume"
                )


def size(path: Path) -> int:
    """Return a file's size in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def disk_advice(number: int | None) -> str:
    """Return what the operator can do about a disk error, by its `errno`."""
    is_full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    todo = "make room" if is_full else "make it writable"
    return f"{todo}, or move the cache with KERNEL_ENV_CACHE, and run it again"


def raise_failure(competition: str, message: dict[str, Any], *, kept: str) -> NoReturn:
    """Raise a `DownloadError` for a message of the kind `failed`.

    Args:
        competition: the competition's name.
        message: the client's message.
        kept: how much has arrived and is kept, as text; empty for nothing.
    """
    page, settings = f"{SITE}/competitions/{competition}", f"{SITE}/settings/api"
    words = message.get("words", "")
    source = message.get("source", "")
    reply = f': "{words}"' if words else ""
    resume = f"; {kept} are kept, run it again to resume" if kept else ""
    new_token = (
        f"create a token at {settings} and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
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
            text = f"Kaggle does not accept {source or 'the key'} (401{reply}); {new_token}"
        case "status", 403:
            text = (
                f"Kaggle denies access to {competition} (403{reply});"
                f" accept the competition's rules at {page}/rules and run it again"
            )
        case "status", 404:
            text = (
                f"Kaggle has no competition {competition!r} (404{reply});"
                f" its name is the last part of its page's address, {SITE}/competitions/NAME"
            )
        case "status", 429:
            text = f"Kaggle limits the rate of requests (429{reply}); run it again later"
        case "store", status:
            text = f"Kaggle's file store responded with status {status}; run it again later"
        case "status", status:
            text = f"Kaggle responded with status {status}{reply}; run it again later"
        case "network", _:
            text = (
                f"the connection to Kaggle failed ({words}); check the network and the proxy"
                " settings, and run it again"
            )
        case "disk", _:
            text = f"{competition} cannot be written: {words}; {disk_advice(message['errno'])}"
        case _:
            text = f"Kaggle's client failed with {words}; run it again, or try another version"
    raise DownloadError(text + resume)
