"""Write a report as an HTML page that needs no network, with a page for each episode beside it.

    report/
    ├── index.html     the report: tables, charts, and its data
    └── episodes/      a page for each episode, named by the digest of its journal

The page is complete without a program: every table is in it. One program sorts, filters and
compares (DataTables, in `assets/datatables`, and `assets/report.js`); the content security policy
of the page names their digests, so that no other one runs. The same records give the same bytes,
in whatever order they come.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernel_env.errors import UsageError
from kernel_env.ratings.comparison import Comparison, Group, compare
from kernel_env.report import headline, parts
from kernel_env.report.charts import Chart, can_draw
from kernel_env.report.episode_page import EpisodePage, write_episode_page, write_file
from kernel_env.report.episode_rows import Row, episode_table, page_data, rows_of, with_pages
from kernel_env.report.group_charts import group_charts
from kernel_env.report.headline import Scope
from kernel_env.report.recorded import Found
from kernel_env.report.tables import Table
from kernel_env.untrusted_text import escape_line

LIBRARIES = {
    "vl_convert": "no charts, only their numbers",
    "choix": "no Elo",
    "nbconvert": "no pages of episodes",
}
"""What a report lacks without a library of the extra."""
ASSETS = Path(__file__).parent / "assets"
INDEX = "index.html"
PAGES = 200
"""How many pages of episodes are written by default. Each takes up to a second."""
Progress = Callable[[str, float | None], None]
"""Receives a text and the share of the work that is done (0 to 1; None if unknown)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a report shows."""

    title: str = ""
    """The title; empty: the name of the suite."""
    measure: str = "position"
    """What agents are compared by; see `kernel_env.ratings`."""
    anchor: str | None = None
    """The agent whose Elo is 1000; None: see `compare`."""
    pages: int | None = PAGES
    """At most so many pages of episodes are written; None: all."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The tables and charts of the tasks of a domain."""

    name: str
    verdict: str
    headline: Table
    charts: Sequence[Chart]


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page shows. The template has a place for each."""

    title: str
    facts: Sequence[tuple[str, str]]
    verdict: str
    warnings: Sequence[str]
    headline: Table
    headline_note: str
    measures: Table
    matrix: Table
    matrix_note: str
    charts: Sequence[Chart]
    no_charts: str
    domains: Sequence[Part]
    pairs: Table
    pairs_note: str
    endings: Table
    endings_note: str
    lost: Table
    unplayed: Table
    errors: Table
    errors_note: str
    episodes: Table
    episodes_note: str
    differing: Table
    common: Table
    settings_note: str


@dataclass(frozen=True, kw_only=True)
class Written:
    """A report that was written."""

    page: Path
    notes: Sequence[str]
    """What is not in it, and why; one line each."""


def write_report(found: Found, out: Path, options: Options, progress: Progress) -> Written:
    """Write a report.

    Args:
        found: the episodes.
        out: the folder of the report; what it has of an earlier one is used or replaced.
        options: what it shows.
        progress: called with each page of an episode.

    Raises:
        UsageError: no Jinja2, records that cannot be compared, an unknown measure or anchor.
        SandboxError: the folder cannot be written.
    """
    if not find_spec("jinja2"):
        raise missing_extra("jinja2")
    rows = rows_of(found.ended)
    comparison = compare_records(found, options)
    chosen = choose_pages(rows, options.pages)
    rows = with_pages(rows, write_pages(chosen, out, progress))
    page = out / INDEX
    write_file(page, page_text(rows, comparison, options, found=found, out=out))
    return Written(page=page, notes=notes_of(rows, options.pages))


def notes_of(rows: Sequence[Row], limit: int | None) -> list[str]:
    """Return what a report does not have, and why, one line each."""
    notes = [
        f"{what}: {name} is not installed; run: pip install 'kernel-env[report]'"
        for name, what in LIBRARIES.items()
        if not find_spec(name)
    ]
    if limit is not None and len(rows) > limit > 0:
        notes.append(f"{limit:,} of {len(rows):,} episodes have a page; --pages -1 writes all")
    return notes


def missing_extra(name: str) -> UsageError:
    """Return the error for a library of the extra `report` that is not installed."""
    return UsageError(
        f"the report needs the extra report ({name} is not installed); run: pip install"
        " 'kernel-env[report]'"
    )


def compare_records(found: Found, options: Options) -> Comparison:
    """Compare the agents; without choix they get no Elo.

    Raises `UsageError` if no episode has ended, and as `compare` does.
    """
    if not found.ended:
        raise UsageError("none of these runs has ended; a report needs at least one that has")
    return compare(
        [each.result for each in found.ended],
        measure=options.measure,
        anchor=options.anchor or found.anchor or None,
        label=found.label,
        elo=find_spec("choix") is not None,
    )


# ── pages of episodes ─────────────────────────────────────────────────────────────────────


def choose_pages(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Return the episodes that get a page.

    If there are too many: first those that failed; then, for each agent on each task, the best and
    the worst one; then the others.
    """
    if limit is None or len(rows) <= limit:
        return list(rows)
    chosen = {row.run: row for row in rows if row.result.error}
    for found in parts.cells_of(rows).values():
        by_place = sorted(found, key=lambda row: parts.counted_place(row.result) or 0.0)
        chosen |= {row.run: row for row in (by_place[-1], by_place[0])}
    chosen |= {row.run: row for row in rows}
    return list(chosen.values())[:limit]


def write_pages(rows: Sequence[Row], out: Path, progress: Progress) -> dict[str, EpisodePage]:
    """Write the pages of episodes that can be read; return them by the names of the runs."""
    if not find_spec("nbconvert"):
        return {}
    pages = {}
    for number, row in enumerate(rows, 1):
        progress(f"pages of episodes · {number} of {len(rows)}", number / len(rows))
        try:
            pages[row.run] = write_episode_page(row.recorded.folder, out)
        except UsageError:  # a record without a journal that can be read: it has no page
            continue
    return pages


# ── the page ──────────────────────────────────────────────────────────────────────────────


def page_text(
    rows: Sequence[Row],
    comparison: Comparison,
    options: Options,
    *,
    found: Found,
    out: Path | None,
    version: str = "",
) -> str:
    """Return the page.

    Args:
        rows: the episodes.
        comparison: of their agents.
        options: what it shows.
        found: where the episodes come from, and what is missing.
        out: the folder of the report, which its links start from; None for a page that is served.
        version: names the content of a page that is served and renews itself.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: (
            value if isinstance(value, Markup) or not isinstance(value, str) else escape_line(value)
        ),
    )
    assets = read_assets()
    # Markup: our own files, and JSON and SVG that were made harmless where they were written.
    return environment.get_template("report.html").render(
        page=content_of(rows, comparison, found, options),
        policy=policy(live=bool(version)),
        version=version,
        styles=Markup(assets.styles),  # noqa: S704
        table_program=Markup(assets.table_program),  # noqa: S704
        program=Markup(assets.program),  # noqa: S704
        data=Markup(page_data(rows, out)),  # noqa: S704
        data_has_failures=any(step.result not in ("", "graded") for step in steps_of(rows)),
        drawing=Markup,
    )


def steps_of(rows: Iterable[Row]) -> Iterable[Any]:
    """Yield the steps of all episodes with pages."""
    return (step for row in rows if row.page for step in row.page.steps)


@dataclass(frozen=True, kw_only=True)
class Assets:
    """Our own files that are part of the page."""

    styles: str
    table_program: str
    program: str


@cache
def read_assets() -> Assets:
    """Read our own files that are part of the page."""
    tables = ASSETS / "datatables"
    return Assets(
        styles=(tables / "dataTables.dataTables.min.css").read_text(encoding="utf-8")
        + (ASSETS / "report.css").read_text(encoding="utf-8"),
        table_program=(tables / "dataTables.min.js").read_text(encoding="utf-8"),
        program=(ASSETS / "report.js").read_text(encoding="utf-8"),
    )


def policy(*, live: bool) -> str:
    """Return the content security policy of the page: our two programs, and nothing else."""
    assets = read_assets()
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (assets.table_program, assets.program)
    )
    connect = " connect-src 'self';" if live else ""
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-src 'self';"
        f"{connect} script-src {digests}; base-uri 'none'; form-action 'none'"
    )


def content_of(
    rows: Sequence[Row], comparison: Comparison, found: Found, options: Options
) -> Content:
    """Compute what the page shows."""
    rated = [row.agent for row in comparison.overall.rows]
    agents = [*rated, *sorted({row.agent for row in rows} - set(rated))]
    scope = Scope(comparison=comparison, agents=agents)
    cells = parts.cells_of(rows)
    domains = {cell.task: cell.domain for cell in comparison.cells}
    overall = comparison.overall
    several = len(comparison.domains) > 1
    differing, common = parts.settings(rows, agents)
    left_out = sum(row.page is None for row in rows)
    return Content(
        title=escape_line(options.title or title_of(found)),
        facts=facts_of(rows, comparison, found),
        verdict=overall.sentence,
        warnings=[escape_line(each) for each in comparison.cautions],
        headline=headline.headline(overall, scope),
        headline_note=headline.note_of(comparison),
        measures=headline.measures(overall),
        matrix=parts.matrix(cells, agents, domains),
        matrix_note="Mean position of each agent on each task, and how many episodes are behind it."
        " Sort by the last column for the tasks on which agents differ most.",
        charts=group_charts(overall, scope, curve(cells, agents), "all-"),
        no_charts="" if can_draw() else "Without the extra report there are only the numbers.",
        domains=[
            part_of(group, scope, cells, f"d{number}-")
            for number, group in enumerate(comparison.domains if several else (), 1)
        ],
        pairs=headline.pair_table(overall, scope),
        pairs_note=headline.PAIRS_NOTE,
        endings=parts.endings(rows, agents),
        endings_note="Below each ending: whom it is due to. Only what is due to the agent counts;"
        " everything else is missing from every number above.",
        lost=parts.lost_episodes(rows),
        unplayed=parts.unplayed(found.missing),
        errors=parts.errors(rows, agents),
        errors_note="How often an exception ended a cell, with links to steps.",
        episodes=episode_table(rows),
        episodes_note=f"{len(rows):,} episodes"
        + (f"; {left_out:,} of them have no page in this report." if left_out else ".")
        + " A filter has words and conditions such as place>0.5, seconds<=600,"
        " status=finished, agent~open; files have what is shown.",
        differing=differing,
        common=common,
        settings_note="Settings that are not the same for all agents, or within one."
        if differing.rows
        else "Nothing differs between agents: same budgets, machine, versions and rules.",
    )


def title_of(found: Found) -> str:
    """Return the title of a report that has none of its own."""
    return f"Suite {', '.join(found.suites)}" if found.suites else "Comparison of agents"


def curve(cells: parts.Cells, agents: Sequence[str]) -> list[dict[str, float | str]]:
    """Return the points of the curves of some episodes."""
    return parts.curve_points(cells, agents)


def part_of(group: Group, scope: Scope, cells: parts.Cells, prefix: str) -> Part:
    """Return the tables and charts of a domain."""
    own = {key: rows for key, rows in cells.items() if key[1] in group.tasks}
    present = replace(group, rows=tuple(row for row in group.rows if row.attempts))
    return Part(
        name=escape_line(group.name),
        verdict=group.sentence,
        headline=headline.headline(present, scope),
        charts=group_charts(present, scope, curve(own, scope.agents), prefix),
    )


def facts_of(rows: Sequence[Row], comparison: Comparison, found: Found) -> list[tuple[str, str]]:
    """Return the few numbers at the top."""
    group = comparison.overall
    money = sum(row.total_money for row in group.rows)
    dates = sorted(row.result.started[:10] for row in rows if row.result.started)
    facts = [
        ("agents", f"{len(group.rows):,}"),
        ("tasks", f"{len(group.tasks):,}"),
        ("episodes", f"{len(rows):,}"),
        ("missing", f"{sum(row.missing for row in group.rows):,}"),
    ]
    if found.missing:
        facts.append(("jobs without a result", f"{len(found.missing):,}"))
    if money:
        facts.append(("spent", f"${money:,.2f}"))
    if group.detectable is not None:
        facts.append(("smallest difference to be seen", f"{100 * group.detectable:.1f} points"))
    if dates:
        day = dates[0] if dates[0] == dates[-1] else f"{dates[0]} – {dates[-1]}"
        facts.append(("date", escape_line(day)))
    return facts


__all__ = ["INDEX", "PAGES", "Options", "write_report"]
