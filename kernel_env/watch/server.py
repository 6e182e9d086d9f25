"""Serve pages of running episodes: the process that `WatchServer` starts.

    python -m kernel_env.watch.server

Prints its address, reads the folders of episodes from standard input, one JSON text per line, and
ends with it.
"""

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from kernel_env.watch import page
from kernel_env.watch.follow import Followed
from kernel_env.watch.loopback import MAX_READERS, LoopbackRequest, LoopbackServer

POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'"
)
POLL_S = 0.3
"""The interval between two looks at a journal."""
ALIVE_S = 5.0
"""The interval between two signs of life of a page."""
LAST_S = 3.0
"""Time limit at the end to send the last steps to the readers."""
NICENESS = 10
"""Priority of the process: what it does must not slow an episode down."""


class PageServer(LoopbackServer):
    """The server, and the episodes that it shows."""

    def __init__(self) -> None:
        super().__init__(PageRequest)
        self.ended = threading.Event()
        """Set when no further episode follows and none runs."""
        self._folders: dict[str, Path] = {}

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


class PageRequest(LoopbackRequest):
    """One request for a page."""

    server: PageServer

    def answer(self, name: str) -> None:
        """Write the list of episodes, or the page of one, until nothing more will follow."""
        folder = self.server.folders.get(name.removesuffix("/"))
        if not (folder or name == ""):
            return self.refuse(HTTPStatus.NOT_FOUND)
        nonce = secrets.token_urlsafe(16)
        self.begin(HTTPStatus.OK, "text/html", POLICY.format(nonce=nonce))
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


def begin_episode(episode: Followed, shown: page.Page) -> Iterator[str]:
    """Yield the beginning of an episode's page."""
    assert episode.header is not None
    yield shown.begin(f"{episode.header.task_name}: {episode.header.agent}")
    yield page.episode_header(episode.header)


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
