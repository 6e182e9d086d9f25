"""Measure a report on many records: written, opened in a browser, sorted there."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernel_env.bench.measure import Bench, Goal, Row, row, time_await, time_call
from kernel_env.episode.activity import CellCounts
from kernel_env.episode.result import RECORD, EpisodeResult, Usage
from kernel_env.report.html_report import Options, write_report
from kernel_env.report.listing import load_runs
from kernel_env.report.recorded import find_recorded

AGENTS, TASKS, SEEDS = 10, 100, 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Programs that can be driven; the first one found is."""
SORT = """() => new Promise(done => {
  new DataTable.Api('#episodes').one('draw', () => { document.body.offsetHeight; done(); });
  document.querySelector('#episodes th.number .dt-column-order').click();
})"""
"""Sorts the episodes by a column, until they are laid out."""


async def reports(bench: Bench) -> list[Row]:
    """Measure a report on thousands of records, against a plain table of them by pandas."""
    missing = [name for name in ("jinja2", "vl_convert", "choix") if not find_spec(name)]
    if missing:
        bench.skip(f"a report: the extra report is not installed ({', '.join(missing)})")
        return []
    runs, plain = bench.folder / "records", bench.folder / "plain.html"
    number = 0
    for number, record in enumerate(records(max(6, round(TASKS * bench.scale))), 1):
        folder = runs / str(number)
        folder.mkdir(parents=True)
        (folder / RECORD).write_text(json.dumps(record.json()))
    out = bench.folder / "report"

    def write() -> None:
        found = find_recorded([runs], lambda *_: None)
        write_report(found, out, Options(pages=0), lambda *_: None)

    mine, peer = [], []
    for _ in bench.rounds("a report written", 3):
        mine.append(time_call(write))
        peer.append(time_call(lambda: plain.write_text(load_runs(runs).to_html())))
    what = f"report on {number:,} records"
    rows = [row(f"{what}, written", mine, "pandas' table of them", peer)]
    return rows + await in_browser(bench, what, out / "index.html", plain)


def records(tasks: int) -> Iterator[EpisodeResult]:
    """Yield a record for each agent, task and seed; the same ones each time."""
    chance = random.Random(0)  # noqa: S311 - made-up scores
    for task in range(tasks):
        for agent in range(AGENTS):
            for seed in range(SEEDS):
                place = min(1.0, max(0.0, chance.gauss(0.3 + agent / 20, 0.2)))
                yield replace(
                    RECORDED,
                    task=f"task-{task}",
                    domain=f"domain-{task % 4}",
                    model=f"model-{agent}",
                    seed=seed,
                    public_score=place,
                    private_score=place,
                    position_public=place,
                    position_private=place,
                    episode=f"{task}-{agent}-{seed}",
                    best_by_step=[
                        [10, 60.0, 0.01, place / 2, place / 2],
                        [20, 90.0, 0.02, place, place],
                    ],
                )


RECORDED = EpisodeResult(
    task="",
    agent="openai",
    model="",
    seed=0,
    status="finished",
    steps=30,
    public_score=None,
    private_score=None,
    position_public=None,
    position_private=None,
    leaderboard_kind="reference",
    human_rank=None,
    total_reward=0.0,
    seconds=600.0,
    usage=Usage(tokens=50_000, money=0.02),
    notebook="",
    error="",
    episode="",
    sandbox="docker",
    missing="",
    restored=0,
    states_lost=0,
    refusals=0,
    submissions=2,
    metric="accuracy",
    started="2026-01-01T00:00:00+00:00",
    budget={"steps": 30.0, "seconds": 1800.0},
    steps_by_kind={"execute_code": 25, "validate_code": 5},
    cells=CellCounts(execute_run=25, execute_failed=3, validate_run=5, validate_failed=1),
    errors={"ValueError": 2, "KeyError": 1},
)
"""What the records have in common."""


async def in_browser(bench: Bench, what: str, report: Path, plain: Path) -> list[Row]:
    """Measure opening and sorting a report in a headless browser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None or not find_spec("playwright"):
        bench.skip("a report in a browser: it takes Chromium and playwright")
        return []
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        # The browser's own sandbox refuses root, and shows nothing but these two pages.
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        opened, peer, sorted_ = [], [], []
        for _ in bench.rounds("a report opened", 5):
            page = await browser.new_page()
            opened.append(await time_await(open_report(page, report)))
            sorted_.append(await time_await(page.evaluate(SORT)))
            await page.close()
            page = await browser.new_page()
            peer.append(await time_await(page.goto(plain.as_uri())))
            await page.close()
        await browser.close()
    return [
        row(f"{what}, opened", opened, "pandas' table of them", peer, goal=Goal(at_most=2_000)),
        row(f"{what}, sorted", sorted_, goal=Goal(at_most=300)),
    ]


async def open_report(page: Any, report: Path) -> None:
    """Open a report, until its program has begun."""
    await page.goto(report.as_uri())
    await page.wait_for_selector("html[data-ready]", state="attached")
