"""Serve a report that renews itself while its episodes are played.

    with LiveReport(runs, out, options) as live:
        print(live.url)
        live.serve()

A thread looks for new records every two seconds, and makes the page anew when there are any; it
reads running journals from where it stopped. The page asks for a few lines of state, and fetches
itself when its version has changed: what is open, sorted and filtered stays.
"""

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from kernel_env.episode import html_page
from kernel_env.episode.journal import JOURNAL
from kernel_env.episode.observation import rounded_text
from kernel_env.episode.result import RECORD
from kernel_env.errors import KernelEnvError
from kernel_env.report.episode_page import FOLDER
from kernel_env.report.episode_rows import FILES, Row, rows_of, with_pages
from kernel_env.report.html_report import (
    INDEX,
    Options,
    choose_pages,
    compare_records,
    page_text,
    policy,
    write_pages,
)
from kernel_env.report.recorded import find_recorded
from kernel_env.suite.records import JOBS
from kernel_env.untrusted_text import escape_line
from kernel_env.watch.follow import Followed
from kernel_env.watch.loopback import LoopbackRequest, LoopbackServer

POLL_S = 2.0
"""The interval between two looks at the records."""
SHARE = 0.1
"""The share of the time that is spent on making the page: the episodes need the processor."""
FRAMED = "frame-ancestors 'self'"
"""Pages of episodes are shown side by side in the report, and nowhere else."""
PAGE = re.compile(rf"{FOLDER}/[0-9a-f]{{20}}\.html")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is served now."""

    page: str
    policy: str
    version: str
    summary: str
    running: Sequence[str] = ()
    """A line for each episode that runs."""
    files: dict[str, Path] | None = None
    """Address → file of a run."""


class LiveReport(LoopbackServer):
    """The server of a report."""

    def __init__(self, runs: Sequence[Path], out: Path, options: Options) -> None:
        """Read the records for the first time.

        Args:
            runs: folders, as `find_recorded` takes them.
            out: the folder of the pages of episodes.
            options: what the report shows.
        """
        super().__init__(ReportRequest)
        self.out = out
        self.runs, self._options = runs, options
        self._stop = threading.Event()
        self._followed: dict[Path, Followed] = {}
        self._seen: object = None
        self.shown = waiting("No episode has ended yet.")
        self.look()

    def look(self) -> None:
        """Look for new records, and make the page anew if there are any."""
        try:
            seen = stamps(self.runs)
            if seen != self._seen:
                self.shown, self._seen = self._make(), seen
            else:
                self.shown = replace(self.shown, running=self._lines())
        except (KernelEnvError, OSError) as error:  # OSError: a folder that was just removed
            known = self._seen is not None
            self.shown = replace(self.shown, summary=str(error)) if known else waiting(str(error))

    def _make(self) -> Shown:
        found = find_recorded(self.runs, lambda *_: None)
        self._follow(found.running)
        if not found.ended:
            return waiting("No episode has ended yet.", self._lines())
        rows = rows_of(found.ended)
        comparison = compare_records(found, self._options)
        pages = write_pages(choose_pages(rows, self._options.pages), self.out, lambda *_: None)
        rows = with_pages(rows, pages)
        version = version_of(rows)
        page = page_text(rows, comparison, self._options, found=found, out=None, version=version)
        return Shown(
            page=page,
            policy=f"{policy(live=True)}; {FRAMED}",
            version=version,
            summary=f"{len(rows):,} episodes have ended, {len(self._followed):,} not yet",
            running=self._lines(),
            files={
                f"files/{row.run}/{name}": row.recorded.folder / name
                for row in rows
                for name in FILES.values()
            },
        )

    def _follow(self, running: Iterable[Path]) -> None:
        followed = {folder: self._followed.get(folder) or Followed(folder) for folder in running}
        self._followed = followed

    def _lines(self) -> list[str]:
        """Return a line for each episode that runs."""
        lines = []
        for episode in self._followed.values():
            for _ in episode.read():
                pass
            if header := episode.header:
                best, steps = episode.progress.best, episode.progress.steps
                score = f", best {rounded_text(best.grade.public_score)}" if best else ""
                agent = f"{header.agent} {header.model}".strip()
                what = f"{header.task}, {agent}, seed {header.seed}"
                lines.append(escape_line(f"{what}: step {steps} of {header.budget.steps}{score}"))
        return sorted(lines)

    def serve(self) -> None:
        """Serve until another thread calls `stop`, or the program is interrupted."""
        threading.Thread(target=self._look_again, daemon=True).start()
        self.serve_forever()

    def _look_again(self) -> None:
        took = 0.0
        while not self._stop.wait(max(POLL_S, took / SHARE)):
            began = time.monotonic()
            self.look()
            took = time.monotonic() - began

    def stop(self) -> None:
        """End `serve`."""
        self._stop.set()
        self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self.server_close()


class ReportRequest(LoopbackRequest):
    """One request for the report, its state, the page of an episode or a file of a run."""

    server: LiveReport

    def answer(self, name: str) -> None:
        """Answer a request."""
        shown, name = self.server.shown, unquote(name)
        if name in ("", INDEX):
            return self._send(shown.page.encode(), "text/html", shown.policy)
        if name == "state.json":
            state = {
                "version": shown.version,
                "summary": shown.summary,
                "running": shown.running,
            }
            return self._send(json.dumps(state).encode(), "application/json", "default-src 'none'")
        if PAGE.fullmatch(name):
            return self._send_file(self.server.out / name, "text/html")
        if path := (shown.files or {}).get(name):
            return self._send_file(path, "application/octet-stream")
        return self.refuse(HTTPStatus.NOT_FOUND)

    def _send_file(self, path: Path, kind: str) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            return self.refuse(HTTPStatus.NOT_FOUND)
        return self._send(content, kind, f"{html_page.POLICY}; {FRAMED}")

    def _send(self, content: bytes, kind: str, policy: str) -> None:
        saved = {"Content-Disposition": "attachment"} if kind.endswith("octet-stream") else {}
        self.begin(HTTPStatus.OK, kind, policy, {"Content-Length": str(len(content)), **saved})
        self.wfile.write(content)


def waiting(text: str, running: Sequence[str] = ()) -> Shown:
    """Return a page that says why there is no report yet, and loads itself again."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in running)
    again = f'<meta http-equiv="refresh" content="{POLL_S:.0f}">'
    return Shown(
        page=html_page.page(
            "Report", f"{again}<h1>{escape(escape_line(text))}</h1><ul>{lines}</ul>"
        ),
        policy=f"{html_page.POLICY}; {FRAMED}",
        version="waiting",
        summary=escape_line(text),
        running=running,
    )


def version_of(rows: Sequence[Row]) -> str:
    """Return what names the content of a report."""
    text = json.dumps([row.result.json() for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamps(runs: Iterable[Path]) -> object:
    """Return what changes when a record is written or an episode begins."""
    found = {}
    for run in runs:
        for folder, _, names in os.walk(run):
            for name in names:
                if name == JOURNAL:
                    found[folder, name] = (0, 0)  # it grows with each step, which is no record
                elif name in (RECORD, JOBS) or name.endswith(".jsonl"):
                    with suppress(OSError):
                        stat = Path(folder, name).stat()
                        found[folder, name] = (stat.st_mtime_ns, stat.st_size)
    return found
