"""Serve pages of running episodes: the process that `WatchServer` starts.

    python -m kernel_env.watch.server

Prints its address, reads messages from standard input, one JSON object per line, and ends with it.
`add` shows another episode, `ask` a question on the page of one, and `withdraw` ends that. Each
answer is printed as a line, `[number, text]`: the first one to a question, and no other.
"""

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from kernel_env.watch import page
from kernel_env.watch.follow import Followed
from kernel_env.watch.loopback import MAX_READERS, LoopbackRequest, LoopbackServer

POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action {forms}"
)
MAX_ANSWER_BYTES = 64 * 1024
"""Limit of the body of a request with an answer."""
POLL_S = 0.3
"""The interval between two looks at a journal."""
ALIVE_S = 5.0
"""The interval between two signs of life of a page."""
LAST_S = 3.0
"""Time limit at the end to send the last steps to the readers."""
NICENESS = 10
"""Priority of the process: what it does must not slow an episode down."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question on the page of an episode."""

    number: int
    episode: str
    """The name of the episode's folder."""
    text: str


class PageServer(LoopbackServer):
    """The server, and the episodes that it shows."""

    def __init__(self) -> None:
        super().__init__(PageRequest)
        self.ended = threading.Event()
        """Set when no further episode follows and none runs."""
        self._folders: dict[str, Path] = {}
        self._questions: dict[int, Question] = {}
        self._lock = threading.Lock()

    def obey(self, message: dict[str, Any]) -> None:
        """Do what a message of the run says."""
        match message:
            case {"kind": "add", "folder": folder}:
                self.add(Path(folder))
            case {"kind": "ask", "number": number, "episode": episode, "text": text}:
                question = Question(number=number, episode=episode, text=text)
                with self._lock:
                    self._questions = {**self._questions, number: question}
            case {"kind": "withdraw", "number": number}:
                self.take_question(number)

    def add(self, folder: Path) -> None:
        """Show another episode."""
        self._folders = {**self._folders, folder.name: folder}

    @property
    def folders(self) -> dict[str, Path]:
        """Return the folders of the episodes, by name."""
        return self._folders

    def question_of(self, episode: str) -> Question | None:
        """Return the question on the page of an episode; None if there is none."""
        found = (each for each in self._questions.values() if each.episode == episode)
        return next(found, None)

    def take_question(self, number: int) -> Question | None:
        """Remove a question and return it; None if it was answered or withdrawn before."""
        with self._lock:
            question = self._questions.get(number)
            self._questions = {n: each for n, each in self._questions.items() if n != number}
            return question

    def answer(self, episode: str, number: int, text: str) -> bool:
        """Print the answer to a question; False if the episode does not ask it any more."""
        question = self.question_of(episode)
        if question is None or question.number != number or not self.take_question(number):
            return False
        with self._lock:
            print(json.dumps([number, text]), flush=True)  # noqa: T201 - read by `WatchServer`
        return True

    def end(self) -> None:
        """Let all pages end with what is in the journals now."""
        self.ended.set()
        until = time.monotonic() + LAST_S
        for _ in range(MAX_READERS):
            self.readers.acquire(timeout=max(0.0, until - time.monotonic()))


class PageRequest(LoopbackRequest):
    """One request for a page."""

    server: PageServer

    do_POST = LoopbackRequest.do_GET  # noqa: N815 - the name of the library

    def answer(self, name: str) -> None:
        """Write a page, or take the answer to the question on one."""
        return self._take(name) if self.command == "POST" else self._show(name)

    def _show(self, name: str) -> None:
        """Write the list of episodes, or the page of one, until nothing more will follow."""
        folder = self.server.folders.get(name.removesuffix("/"))
        if not (folder or name == ""):
            return self.refuse(HTTPStatus.NOT_FOUND)
        nonce = secrets.token_urlsafe(16)
        forms = "'self'" if folder else "'none'"
        self.begin(HTTPStatus.OK, "text/html", POLICY.format(nonce=nonce, forms=forms))
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

    def _take(self, name: str) -> None:
        """Take the answer to the question on the page of an episode, and show the page again."""
        episode, length = name.removesuffix("/"), self.headers.get("Content-Length", "")
        if episode not in self.server.folders:
            return self.refuse(HTTPStatus.NOT_FOUND)
        if not (length.isascii() and length.isdigit()):
            return self.refuse(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > len(str(MAX_ANSWER_BYTES)) or int(length) > MAX_ANSWER_BYTES:
            return self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            body = self.rfile.read(int(length)).decode()
            fields = parse_qs(body, keep_blank_values=True, strict_parsing=True, max_num_fields=2)
            number, text = int(fields["question"][0]), fields["answer"][0]
        except (ValueError, KeyError):
            return self.refuse(HTTPStatus.BAD_REQUEST)
        if not self.server.answer(episode, number, text.replace("\r\n", "\n")):
            return self.refuse(HTTPStatus.CONFLICT)
        here = {"Location": self.path}
        return self.begin(HTTPStatus.SEE_OTHER, "text/plain", "default-src 'none'", here)

    def _episode(self, folder: Path, shown: page.Page) -> Iterator[str]:
        """Yield the page of an episode in parts; an empty one while nothing has happened."""
        episode = Followed(folder)
        began, asked = False, None
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
            question = self.server.question_of(folder.name)
            if began and question != asked:
                asked = question
                form = page.answer_form(question.number, question.text) if question else ""
                yield shown.renew(form, "question")
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
            asking = [name for name in episodes if self.server.question_of(name)]
            content = page.episode_list(episodes.values(), asking)
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
            server.obey(json.loads(line))
        server.end()


if __name__ == "__main__":
    main()
