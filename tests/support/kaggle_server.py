"""A stand-in for Kaggle: its API and its file store, on a real socket of this machine.

It is an HTTP proxy, so that Kaggle's client runs as it is: told by its own variable
KAGGLE_API_ENVIRONMENT that Kaggle is at http://localhost, and by http_proxy to ask here.
"""

import base64
import hashlib
import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TOKEN = "KGAT_a-token-that-nobody-may-see"
USERNAME, KEY = "ada", "a-key-that-nobody-may-see"
SIGNATURE = "a-signature-that-nobody-may-see"
STORE = "store.example"


def archive(files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@dataclass
class Kaggle:
    """What it offers, and how it fails when a test wants it to."""

    files: dict[str, bytes]
    """What is in the competition `titanic`."""
    blob: bytes = b""
    """The archive; made of the files unless given."""
    etag: str = '"1"'
    public: list[tuple[int, str]] = field(default_factory=list)
    private: list[tuple[int, str]] | None = None
    """None while a competition shows only its public board."""
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Method → status and Kaggle's words."""
    active: bool = True
    """Whether the token is."""
    cut: list[int | None] = field(default_factory=list)
    """After how many bytes the coming answers with the archive are cut off, in order. A client
    that goes on asks twice: for everything, which it does not read, and for the rest."""
    hang: bool = False
    """Where an answer is cut off, it is left open instead."""
    ranges: bool = True
    """Whether parts of the archive can be asked for."""
    wrong_part: bool = False
    """Whether the store says that it sends the rest and sends all of it."""
    length: int | None = None
    """The archive's length as announced, when it is not the true one; negative for none."""
    md5: bool = True
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """What was asked for, in order: the method or `archive`, and the Range header."""
    heard: list[str] = field(default_factory=list)
    """The Authorization headers that the file store got."""

    def __post_init__(self) -> None:
        self.blob = self.blob or archive(self.files)

    def environment(self) -> dict[str, str]:
        """What makes Kaggle's client come here, and nowhere else."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "no_proxy": "",
            "NO_PROXY": "",
        }

    def downloads(self) -> list[str]:
        """The ranges that the archive was asked for, in order."""
        return [span for what, span in self.asked if what == "archive"]


@contextmanager
def serve(kaggle: Kaggle) -> Iterator[Kaggle]:
    """Answer until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = urlsplit(self.path).path.rpartition("/")[2]
            kaggle.asked.append((method, self.headers.get("Range", "")))
            basic = base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
            if method == "IntrospectToken" and method not in kaggle.refuse:
                good = kaggle.active and body["token"] == TOKEN
                self.answer({"active": good, **({"username": USERNAME} if good else {})})
            elif self.headers.get("Authorization") not in (f"Bearer {TOKEN}", f"Basic {basic}"):
                self.answer({"code": 401, "message": "Unauthenticated"}, 401)
            elif method in kaggle.refuse:
                status, words = kaggle.refuse[method]
                self.answer({"code": status, "message": words}, status)
            elif body["competitionName"] != "titanic":
                self.answer({"code": 404, "message": "Competition not found"}, 404)
            elif method == "DownloadDataFiles":
                self.send_response(302)
                self.send_header(
                    "Location", f"http://{STORE}/titanic/archive.zip?Signature={SIGNATURE}"
                )
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.board(body)

        def do_GET(self) -> None:
            where = urlsplit(self.path)
            assert (where.hostname, where.query) == (STORE, f"Signature={SIGNATURE}")
            kaggle.asked.append(("archive", self.headers.get("Range", "")))
            kaggle.heard.append(self.headers.get("Authorization", ""))
            start = 0
            same = self.headers.get("If-Range") in (None, kaggle.etag)
            if self.headers.get("Range") and kaggle.ranges and same:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            data = kaggle.blob[0 if kaggle.wrong_part else start :]
            length = len(data) if kaggle.length is None else kaggle.length
            self.send_response(206 if start else 200)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.send_header("ETag", kaggle.etag)
            self.send_header("Accept-Ranges", "bytes")
            if kaggle.md5:
                md5 = base64.b64encode(hashlib.md5(kaggle.blob).digest()).decode()
                self.send_header("x-goog-hash", f"crc32c=AAAAAA==, md5={md5}")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            cut = kaggle.cut.pop(0) if kaggle.cut else None
            try:
                self.wfile.write(data if cut is None else data[:cut])
                if cut is not None and kaggle.hang:
                    time.sleep(60)
            except OSError:
                pass

        def board(self, body: dict[str, Any]) -> None:
            public = body.get("overridePublic") or kaggle.private is None
            rows = kaggle.public if public else kaggle.private
            assert rows is not None
            start, size = int(body.get("pageToken") or 0), 2  # small pages, there must be several
            more = str(start + size) if start + size < len(rows) else ""
            teams = [{"teamId": team, "score": score} for team, score in rows[start : start + size]]
            self.answer({"submissions": teams, "nextPageToken": more})

        def answer(self, value: object, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass  # a client that went away

    with Server(("127.0.0.1", 0), Handler) as server:
        kaggle.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield kaggle
        server.shutdown()
