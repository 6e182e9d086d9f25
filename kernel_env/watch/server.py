"""Serve pages of running episodes: the process that `WatchServer` starts.

    python -m kernel_env.watch.server

Prints its address, reads the folders of episodes from standard input, one JSON text per line, and
ends with it. It listens on the loopback interface. A page needs the random token in the address; a
request that names another host than this machine is refused, so that a web page of others cannot
reach it by a name of its own (DNS rebinding).
"""

import hmac
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kernel_env.watch import page
from kernel_env.watch.follow import Followed

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine, also behind an SSH tunnel to another."""
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'"
)
POLL_S = 0.3
"""The interval between two looks at a journal."""
ALIVE_S = 5.0
"""The interval between two signs of life of a page."""
STALLED_S = 30.0
"""Time limit for a reader to send its request, and to take what was written."""
MAX_READERS = 32
"""How many requests are answered at once; each open page is one."""
LAST_S = 3.0
"""Time limit at the end to send the last steps to the readers."""
NICENESS = 10
"""Priority of the process: what it does must not slow an episode down."""


class PageServer(ThreadingHTTPServer):
    """The server, and the episodes that it shows."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), PageRequest)
        self.token = secrets.token_urlsafe(32)
        self.ended = threading.Event()
        """Set when no further episode follows and none runs."""
        self.readers = threading.Semaphore(MAX_READERS)
        self._folders: dict[str, Path] = {}

    @property
    def url(self) -> str:
        """Return the address of the list of episodes."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def add(self, folder: Path) -> None:
        """Show another episode."""
        self._folders = {**self._folders, folder.name: folder}

    @property
    def folders(self) -> dict[str, Path]:
        """Return the folders of the episodes, by name."""
        return self._folders

    def end(self) -> None:
        """Let all pages end with what is in the journals now."""
        self.ended.set()
        until = time.monotonic() + LAST_S
        for _ in range(MAX_READERS):
            self.readers.acquire(timeout=max(0.0, until - time.monotonic()))


class PageRequest(BaseHTTPRequestHandler):
    """One request for a page."""

    server: PageServer
    server_version, sys_version = "kernel_env", ""
    timeout = STALLED_S

    def do_GET(self) -> None:
        """Answer a request."""
        if not self.server.readers.acquire(blocking=False):
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            return self._answer()
        except OSError:  # the reader has gone
            return None
        finally:
            self.server.readers.release()

    def _answer(self) -> None:
        if not is_this_machine(self.headers.get_all("Host") or []):
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        empty, _, rest = self.path.partition("/")
        token, _, name = rest.partition("/")
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        folder = self.server.folders.get(name.removesuffix("/")) if known else None
        if empty or not known or not (folder or name == ""):
            return self._refuse(HTTPStatus.NOT_FOUND)
        nonce = secrets.token_urlsafe(16)
        self._begin(HTTPStatus.OK, nonce)
        shown = page.Page(nonce)
        parts = self._episode(folder, shown) if folder else self._list(shown)
        alive, sent = 0, 0.0
        for part in parts:
            if part:
                self.wfile.write(part.encode(errors="replace"))
            elif time.monotonic() - sent > ALIVE_S:
                alive, sent = alive + 1, time.monotonic()
                self.wfile.write(shown.alive(alive).encode())
            else:
                self.server.ended.wait(POLL_S)
        return None

    def _episode(self, folder: Path, shown: page.Page) -> Iterator[str]:
        """Yield the page of an episode in parts; an empty one while nothing has happened."""
        episode = Followed(folder)
        began = False
        while True:
            last = self.server.ended.is_set()
            changed = False
            for step in episode.read():
                if not began:
                    yield from begin_episode(episode, shown)
                began = changed = True
                yield page.step_section(step)
            if not began and episode.header is not None:
                yield from begin_episode(episode, shown)
                began = changed = True
            if changed:
                yield shown.renew(page.standing(episode))
            if episode.ending:
                yield shown.end(page.ending_text(episode.ending))
                return
            if episode.damaged or last:
                why = "The journal cannot be read." if episode.damaged else "The run has ended."
                yield shown.end(f"<h2>{why}</h2>")
                return
            yield ""

    def _list(self, shown: page.Page) -> Iterator[str]:
        """Yield the list of episodes in parts; an empty one while nothing has happened."""
        yield shown.begin("Episodes of kernel_env") + "<header><h1>Episodes</h1></header>"
        episodes: dict[str, Followed] = {}
        before = ""
        while True:
            last = self.server.ended.is_set()
            for name, folder in self.server.folders.items():
                episode = episodes.setdefault(name, Followed(folder))
                if not episode.over:
                    for _ in episode.read():
                        pass
            content = page.episode_list(episodes.values())
            if content != before:
                before = content
                yield shown.renew(content)
            if last:
                yield shown.end("<h2>The run has ended.</h2>")
                return
            yield ""

    def _refuse(self, status: HTTPStatus) -> None:
        self._begin(status, secrets.token_urlsafe(16))
        self.wfile.write(f"{status.phrase}\n".encode())

    def _begin(self, status: HTTPStatus, nonce: str) -> None:
        kind = "text/html" if status == HTTPStatus.OK else "text/plain"
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Security-Policy", POLICY.format(nonce=nonce)),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Log nothing: the address has the token."""


def begin_episode(episode: Followed, shown: page.Page) -> Iterator[str]:
    """Yield the beginning of an episode's page."""
    assert episode.header is not None
    yield shown.begin(f"{episode.header.task_name}: {episode.header.agent}")
    yield page.episode_header(episode.header)


def is_this_machine(hosts: list[str]) -> bool:
    """Return whether the `Host` headers of a request name this machine, with any port."""
    name, colon, port = hosts[0].rpartition(":") if len(hosts) == 1 else ("", "", "")
    return (name if colon and port.isdigit() else "".join(hosts)) in HOSTS


def main() -> None:
    """Serve until standard input ends."""
    os.nice(NICENESS)
    with PageServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.url, flush=True)  # noqa: T201 - read by `WatchServer`
        for line in sys.stdin.buffer:
            server.add(Path(json.loads(line)))
        server.end()


if __name__ == "__main__":
    main()
