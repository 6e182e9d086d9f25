"""Simulate Kaggle's API and file store on a local socket.

The server is an HTTP proxy, so that Kaggle's client runs unchanged: the client's own variable
KAGGLE_API_ENVIRONMENT sets Kaggle's address to http://localhost, and http_proxy sends the
requests to the server.
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

TOKEN = "KGAT_a-secret-token"
USERNAME, KEY = "ada", "a-secret-key"
SIGNATURE = "a-secret-signature"
STORE = "store.example"
"""The host name of the file store."""


def zip_archive(files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Build a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@dataclass
class KaggleServer:
    """The content of the server, its faults, and the requests that it received."""

    files: dict[str, bytes]
    """The files of the competition `titanic`."""
    archive: bytes = b""
    """Default: a zip archive of the files."""
    etag: str = '"1"'
    public: list[tuple[int, str]] = field(default_factory=list)
    private: list[tuple[int, str]] | None = None
    """None if the competition shows only its public board."""
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Method → status and message."""
    token_is_active: bool = True
    cut_after: list[int | None] = field(default_factory=list)
    """The numbers of bytes after which the next responses with the archive end, in order. A
    client that resumes sends two requests: one for everything, which it does not read, and one
    for the rest."""
    hangs: bool = False
    """Whether the connection stays open after a cut."""
    supports_ranges: bool = True
    ignores_range: bool = False
    """Whether the store announces the rest of the archive and sends all of it."""
    length: int | None = None
    """The announced length if it is not the true one; negative: none is announced."""
    has_md5: bool = True
    """Whether the store announces the archive's MD5."""
    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    """The method, or `archive`, and the Range header of each request."""
    store_authorizations: list[str] = field(default_factory=list)
    """The Authorization headers that the file store received."""

    def __post_init__(self) -> None:
        self.archive = self.archive or zip_archive(self.files)

    def environment(self) -> dict[str, str]:
        """Return the variables that send all requests of Kaggle's client to this server."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "no_proxy": "",
            "NO_PROXY": "",
        }

    def downloads(self) -> list[str]:
        """Return the Range headers of the requests for the archive, in order."""
        return [byte_range for method, byte_range in self.requests if method == "archive"]


@contextmanager
def serve(kaggle: KaggleServer) -> Iterator[KaggleServer]:
    """Serve requests until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = urlsplit(self.path).path.rpartition("/")[2]
            kaggle.requests.append((method, self.headers.get("Range", "")))
            basic = base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
            if method == "IntrospectToken" and method not in kaggle.errors:
                is_valid = kaggle.token_is_active and body["token"] == TOKEN
                self.respond({"active": is_valid, **({"username": USERNAME} if is_valid else {})})
            elif self.headers.get("Authorization") not in (f"Bearer {TOKEN}", f"Basic {basic}"):
                self.respond({"code": 401, "message": "Unauthenticated"}, 401)
            elif method in kaggle.errors:
                status, message = kaggle.errors[method]
                self.respond({"code": status, "message": message}, status)
            elif body["competitionName"] != "titanic":
                self.respond({"code": 404, "message": "Competition not found"}, 404)
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
            url = urlsplit(self.path)
            assert (url.hostname, url.query) == (STORE, f"Signature={SIGNATURE}")
            kaggle.requests.append(("archive", self.headers.get("Range", "")))
            kaggle.store_authorizations.append(self.headers.get("Authorization", ""))
            start = 0
            is_unchanged = self.headers.get("If-Range") in (None, kaggle.etag)
            if self.headers.get("Range") and kaggle.supports_ranges and is_unchanged:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            data = kaggle.archive[0 if kaggle.ignores_range else start :]
            length = len(data) if kaggle.length is None else kaggle.length
            self.send_response(206 if start else 200)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.send_header("ETag", kaggle.etag)
            self.send_header("Accept-Ranges", "bytes")
            if kaggle.has_md5:
                md5 = base64.b64encode(hashlib.md5(kaggle.archive).digest()).decode()
                self.send_header("x-goog-hash", f"crc32c=AAAAAA==, md5={md5}")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            cut = kaggle.cut_after.pop(0) if kaggle.cut_after else None
            try:
                self.wfile.write(data if cut is None else data[:cut])
                if cut is not None and kaggle.hangs:
                    time.sleep(60)
            except OSError:
                pass

        def board(self, body: dict[str, Any]) -> None:
            public = body.get("overridePublic") or kaggle.private is None
            rows = kaggle.public if public else kaggle.private
            assert rows is not None
            start, size = (
                int(body.get("pageToken") or 0),
                2,
            )  # small pages, so that there are several
            next_page = str(start + size) if start + size < len(rows) else ""
            teams = [{"teamId": team, "score": score} for team, score in rows[start : start + size]]
            self.respond({"submissions": teams, "nextPageToken": next_page})

        def respond(self, value: object, status: int = 200) -> None:
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
            pass  # the client closed the connection

    with Server(("127.0.0.1", 0), Handler) as server:
        kaggle.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield kaggle
        server.shutdown()
