"""Define a Kaggle competition for tests, and download it."""

import random
from pathlib import Path

import pytest

from kernel_env.errors import DownloadError
from kernel_env.tasks.kaggle import competition as downloads
from support.kaggle_server import KEY, SIGNATURE, TOKEN

SECRETS = (TOKEN, KEY, SIGNATURE)
"""Texts that must not occur in a message or a file."""
NOISE = random.Random(0).randbytes(400_000)
"""Random bytes cannot be compressed, so the archive has about the same length."""
TABLE = "".join(f"{n},{3 * n}\n" for n in range(100)).encode()
FILES = {"train.csv": b"x,y\n" + TABLE, "images/1.png": NOISE, "empty.txt": b""}
CUT = 150_000
"""The number of bytes after which the server closes a connection."""
KEPT = 131_072
"""The number of these bytes that the client writes: two reads."""


def download_error(folder: Path, competition: str = "titanic") -> str:
    """Return the message of a download that fails and leaves no folder."""
    with pytest.raises(DownloadError) as caught:
        downloads.download(competition, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not [secret for secret in SECRETS if secret in message]
    assert not folder.exists()
    return message


def corrupt(reason: str) -> str:
    """Build the message of a download whose content is wrong."""
    return f"the download of titanic is corrupt: {reason}"
