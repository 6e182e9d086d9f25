"""Turn records into the rows of a report's table of episodes, and into the data of its page."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kernel_env.episode.endings import counts
from kernel_env.episode.journal import JOURNAL
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.result import EpisodeResult
from kernel_env.report import tables
from kernel_env.report.episode_page import EpisodePage, step_anchor
from kernel_env.report.recorded import Recorded
from kernel_env.report.tables import Cell, Column, Table, named
from kernel_env.untrusted_text import escape_line

SETTINGS = (
    *("budget", "reward", "feedback", "counts", "sandbox", "image", "image_digest", "cpus"),
    *("memory_gb", "gpus", "host", "version", "task_version", "metric", "source"),
)
"""The fields of a record that say under which rules and where an episode ran."""
FILES = {"notebook": NOTEBOOK, "journal": JOURNAL}
"""The files of a run that a report links to, by their titles."""
WORDS = 300
"""Limit of an error's text in the table."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An episode in a report."""

    recorded: Recorded
    run: str
    """Its name in the addresses of the page: the episode's, with a number if it is not alone."""
    page: EpisodePage | None = None
    """None if the report has no page of it."""

    @property
    def result(self) -> EpisodeResult:
        """Return its record."""
        return self.recorded.result

    @property
    def agent(self) -> str:
        """Return the name of the agent, as ratings have it."""
        return self.recorded.agent

    def address(self, step: int = 0) -> str:
        """Return the address of its page, or of a step there; of its record if it has none."""
        if self.page is None:
            return f"#run={quote(self.run, safe='')}"
        return f"{self.page.file}#{step_anchor(step)}" if step else self.page.file


def rows_of(ended: Sequence[Recorded]) -> list[Row]:
    """Return the rows of episodes, each with a name that no other has."""
    rows, seen = [], dict[str, int]()
    for each in ended:
        name = escape_line(each.result.episode) or "episode"
        seen[name] = seen.get(name, 0) + 1
        rows.append(Row(recorded=each, run=name if seen[name] == 1 else f"{name}~{seen[name]}"))
    return rows


def with_pages(rows: Sequence[Row], pages: Mapping[str, EpisodePage]) -> list[Row]:
    """Return the rows with the pages that were written, by the names of the runs."""
    return [replace(row, page=pages.get(row.run)) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of the table of episodes."""

    key: str
    title: str
    kind: str
    """How it is shown: `text`, `words`, `status`, `share`, `score`, `count`, `money`, `seconds`,
    `time`; `hidden` is not a column."""
    value: Callable[[Row], Any]


def rate(failed: int, run: int) -> float | None:
    """Return a share; None of nothing."""
    return failed / run if run else None


def place_of(r: EpisodeResult) -> float | None:
    """Return the private position, else the public one."""
    return r.position_public if r.position_private is None else r.position_private


def flags_of(r: EpisodeResult) -> str | None:
    """Return what an audit for cheats found, as text; None if there was none."""
    if r.flags is None:
        return None
    return ", ".join(f"{kind} {count}" for kind, count in sorted(r.flags.items())) or "none"


FIELDS = (
    Field(key="run", title="run", kind="hidden", value=lambda row: row.run),
    Field(key="task", title="task", kind="text", value=lambda row: row.result.task),
    Field(key="agent", title="agent", kind="text", value=lambda row: row.agent),
    Field(key="seed", title="seed", kind="count", value=lambda row: row.result.seed),
    Field(key="attempt", title="attempt", kind="count", value=lambda row: row.result.attempt),
    Field(key="status", title="status", kind="status", value=lambda row: row.result.status),
    Field(key="place", title="position", kind="share", value=lambda row: place_of(row.result)),
    Field(key="private", title="private", kind="score", value=lambda row: row.result.private_score),
    Field(key="public", title="public", kind="score", value=lambda row: row.result.public_score),
    Field(key="rank", title="human rank", kind="share", value=lambda row: row.result.human_rank),
    Field(key="medal", title="medal", kind="text", value=lambda row: row.result.medal),
    Field(key="steps", title="steps", kind="count", value=lambda row: row.result.steps),
    Field(
        key="submissions",
        title="graded",
        kind="count",
        value=lambda row: row.result.submissions,
    ),
    Field(key="rejected", title="rejected", kind="count", value=lambda row: row.result.refusals),
    Field(
        key="execute_failed",
        title="executions failed",
        kind="share",
        value=lambda row: rate(row.result.cells.execute_failed, row.result.cells.execute_run),
    ),
    Field(
        key="validate_failed",
        title="validations failed",
        kind="share",
        value=lambda row: rate(row.result.cells.validate_failed, row.result.cells.validate_run),
    ),
    Field(key="tokens", title="tokens", kind="count", value=lambda row: row.result.usage.tokens),
    Field(key="cost", title="cost", kind="money", value=lambda row: row.result.usage.money),
    Field(key="seconds", title="time", kind="seconds", value=lambda row: row.result.seconds),
    Field(
        key="waited", title="waited", kind="seconds", value=lambda row: row.result.waited_seconds
    ),
    Field(key="started", title="started", kind="time", value=lambda row: row.result.started),
    Field(key="flags", title="cheat flags", kind="text", value=lambda row: flags_of(row.result)),
    Field(
        key="error",
        title="reason",
        kind="words",
        value=lambda row: escape_line(row.result.error, WORDS),
    ),
    Field(key="domain", title="domain", kind="hidden", value=lambda row: row.result.domain),
    Field(key="page", title="", kind="hidden", value=lambda row: row.page.file if row.page else ""),
    Field(key="counts", title="", kind="hidden", value=lambda row: counts(row.result.status)),
    Field(key="best", title="", kind="hidden", value=lambda row: row.result.best_by_step),
)


def value_of(field: Field, row: Row) -> Any:
    """Return what a row has in a column, as a value of JSON."""
    value = field.value(row)
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return escape_line(value) if isinstance(value, str) else value


def page_data(rows: Sequence[Row], out: Path | None) -> str:
    """Return the data of the page as JSON that can stand in a script element.

    Args:
        rows: the episodes.
        out: the folder of the report, which links to files start from; None for a page that is
            served, whose server has them (`FILES`).
    """
    settings, kinds = list[dict[str, Any]](), dict[str, int]()
    lines, files = [], {}
    for row in rows:
        found = settings_of(row.result)
        key = json.dumps(found, sort_keys=True)
        if key not in kinds:
            kinds[key] = len(settings)
            settings.append(found)
        lines.append([*(value_of(field, row) for field in FIELDS), kinds[key]])
        if own := files_of(row, out):
            files[row.run] = own
    columns = [{"key": f.key, "title": f.title, "kind": f.kind} for f in FIELDS]
    data = {
        "columns": [*columns, {"key": "settings", "title": "", "kind": "hidden"}],
        "rows": lines,
        "settings": settings,
        "files": files,
        "steps": {
            str(number): [
                [s.number, s.kind, s.result, s.detail, s.name, s.seconds, s.by_person]
                for s in row.page.steps
            ]
            for number, row in enumerate(rows)
            if row.page
        },
    }
    return script_json(data)


def script_json(data: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def settings_of(result: EpisodeResult) -> dict[str, Any]:
    """Return the settings of an episode by name, as texts and numbers."""
    found: dict[str, Any] = {}
    for name in SETTINGS:
        value = getattr(result, name)
        if isinstance(value, Mapping):
            found |= {f"{name}.{part}": each for part, each in sorted(value.items())}
        else:
            found[name] = escape_line(value) if isinstance(value, str) else value
    return {name: value for name, value in found.items() if value not in (None, "")}


def files_of(row: Row, out: Path | None) -> list[tuple[str, str]]:
    """Return the titles and addresses of the files of a run that are there."""
    return [
        (title, served if out is None else quote(os.path.relpath(path.resolve(), out.resolve())))
        for title, name in FILES.items()
        if (path := row.recorded.folder / name).is_file()
        and (served := f"files/{quote(row.run, safe='')}/{name}")
    ]


def episode_table(rows: Sequence[Row]) -> Table:
    """Return the table of episodes as it is without a program in the page."""
    fields = [field for field in FIELDS if field.kind != "hidden"]
    texts = ("text", "words", "status", "time")
    return Table(
        columns=[Column(title=f.title, number=f.kind not in texts) for f in fields],
        rows=[[cell_of(field, row) for field in fields] for row in rows],
    )


def cell_of(field: Field, row: Row) -> Cell:
    """Return a cell of the table of episodes."""
    value = value_of(field, row)
    match field.kind:
        case "share":
            return tables.share(value)
        case "count":
            return tables.count(value)
        case "money":
            return tables.dollars(value)
        case "seconds":
            return tables.duration(value)
        case "score":
            return tables.number(value)
        case "time":
            return named(value[:16].replace("T", " "))
    if field.key == "task" and row.page:
        return named(value, link=row.page.file)
    look = "bad" if field.kind == "status" and not counts(row.result.status) else ""
    return named("" if value is None else str(value), look=look)
