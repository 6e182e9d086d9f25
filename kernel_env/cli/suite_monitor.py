"""Show a suite while it runs: a table that changes on a terminal, lines elsewhere."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kernel_env.cli.console import print_json, print_message
from kernel_env.untrusted_text import escape_line

if TYPE_CHECKING:
    from rich.live import Live

    from kernel_env.suite.log import Line
    from kernel_env.suite.plan import Job, Suite
    from kernel_env.suite.scheduler import Scheduler

INTERVAL_S = 1.0
"""The shortest time between two computations of the table."""
SHARE = 0.05
"""The share of the time that computing the table may take: the same process plays episodes."""
ROWS = 20
"""The most episodes in the table."""


class PlainMonitor:
    """Prints a line for each event."""

    def __init__(self, suite: "Suite", *, json: bool) -> None:
        self.suite, self.json = suite, json
        self.done = 0
        """Episodes that this driver has brought to a result."""
        self._progress = ""

    def message(self, text: str) -> None:
        """Print a message."""
        print_message(text)

    def progress(self, text: str, done: float | None) -> None:  # noqa: ARG002 - part of the protocol
        """Print what is being prepared, whenever that changes."""
        line = text.partition(" · ")[0]
        if line != self._progress:
            self._progress = line
            self.message(line)

    def recorded(self, job: "Job", line: "Line") -> None:
        """Print a record."""
        self.done += line.kind == "finished"
        if self.json:
            print_json(asdict(line))
        if text := describe(job, line):
            self.message(text)

    def show(self, scheduler: "Scheduler") -> None:
        """Do nothing: each event has its line."""


class LiveMonitor(PlainMonitor):
    """Shows a table of what is being played below a line that says where the suite stands."""

    def __init__(self, suite: "Suite", live: "Live") -> None:
        super().__init__(suite, json=False)
        self._live = live
        self._next = 0.0

    def message(self, text: str) -> None:
        """Print a message above the table."""
        from rich.text import Text

        self._live.console.print(Text(escape_line(text)))

    def show(self, scheduler: "Scheduler") -> None:
        """Compute the table anew, if the last time is a while ago."""
        began = time.monotonic()
        if began < self._next:
            return
        self._live.update(table_of(scheduler), refresh=True)
        now = time.monotonic()
        self._next = now + max(INTERVAL_S, (now - began) / SHARE)


def describe(job: "Job", line: "Line") -> str:
    """Return what a record says, as text; empty for the beginning of an attempt."""
    match line.kind:
        case "finished":
            return f"{job.name}: {result_text(line.record)}"
        case "fault":
            again = (
                "" if line.retry_at is None else f"; again in {line.retry_at - time.time():.0f} s"
            )
            return f"{job.name}: {line.status} ({line.reason}){again}"
        case "regraded":
            return f"{job.name}: graded again: {result_text(line.record)}"
    return ""


def result_text(record: dict[str, Any]) -> str:
    """Return status, score and place of a result, as text."""
    score, position = record.get("private_score"), record.get("position_private")
    graded = "nothing graded" if score is None else f"private score {score:.5g}"
    place = "" if position is None else f", beats {100 * position:.0f} %"
    return f"{record['status']}: {graded}{place}, {record['seconds']:.0f} s"


def table_of(scheduler: "Scheduler") -> Any:
    """Return the table of a running suite."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from kernel_env.cli.suite import reasons_text, summary
    from kernel_env.suite.driver import live_status

    status = live_status(scheduler)
    reserved = f" · ${scheduler.reserved:.2f} reserved" if scheduler.reserved else ""
    stopping = {"drain": " · stopping after these", "now": " · stopping"}
    note = stopping.get(scheduler.stopping, "")
    lines = [f"{summary(status)}{reserved}{note}", reasons_text(status)]
    table = Table(show_edge=False, pad_edge=False)
    for column in ("playing", "task", "seed", "for"):
        table.add_column(column)
    playing = scheduler.playing
    for job in playing[:ROWS]:
        seconds = f"{scheduler.seconds_played(job):.0f} s"
        table.add_row(*map(Text, (job.agent, job.task, str(job.seed), seconds)))
    if len(playing) > ROWS:
        table.add_row(f"… and {len(playing) - ROWS} more")
    return Group(*(Text(escape_line(line)) for line in lines if line), table)
