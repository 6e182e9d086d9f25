"""A report in a browser: it sorts, filters, compares, prints, and asks for nothing."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import Journal
from kernel_env.episode.step import CellExecuted
from kernel_env.episode.trajectory import Ending
from kernel_env.kernel.cell import Cell
from support.browser import WAIT_MS
from support.cli import run_cli
from support.hostile_displays import HOSTILE_DISPLAYS, display
from support.hostile_text import HOSTILE
from support.trajectories import HEADER, cell_step

pytestmark = pytest.mark.browser
RUN = "20261128-040149-fe1917"
"""A real episode of the report; it failed in step 14."""


@dataclass
class Opened:
    """A page, and what it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def goto(self, address: str) -> None:
        await self.page.goto("about:blank")
        await self.page.goto(address)
        await self.page.wait_for_selector("html[data-ready]", state="attached")

    async def column(self, title: str) -> list[str]:
        """Return the texts of a column of the table of episodes, as far as it is shown."""
        script = """title => {
            const heads = [...document.querySelectorAll('#episodes thead th')];
            const place = heads.findIndex(head => head.textContent.trim() === title);
            return [...document.querySelectorAll('#episodes tbody tr')]
                .map(row => row.cells[place]?.textContent ?? '');
        }"""
        found: list[str] = await self.page.evaluate(script, title)
        return found

    async def info(self) -> str:
        """Return what the table of episodes says about its rows."""
        text: str = await self.page.locator("#all .dt-info").inner_text()
        return text


async def opened_in(context: Any) -> Opened:
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: found.said.append(dialog.message))
    page.on("request", lambda request: found.requests.append(request.url))
    return found


@pytest.fixture
async def opened(browser: Any, report: Path) -> AsyncIterator[Opened]:
    """The report in a browser; it must ask for nothing but itself, and complain of nothing."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    found = await opened_in(context)
    await found.goto((report / "index.html").as_uri())
    yield found
    await context.close()
    assert found.said == []
    assert {url.partition("#")[0] for url in found.requests if "/episodes/" not in url} <= {
        (report / "index.html").as_uri(),
        "about:blank",
    }


async def test_episodes_are_sorted_filtered_and_saved(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    assert (await opened.info()).startswith("1 to 25 of 44")

    for order in ("ascending", "descending"):
        await page.click("#episodes th:has-text('position') .dt-column-order")
        await page.wait_for_selector(f"#episodes th[aria-sort={order}]:has-text('position')")
    places = [float(text.removesuffix(" %")) for text in await opened.column("position")]
    await page.fill("#filter", 'status=finished agent~"(llama" position')
    assert "of 0" in await opened.info() or "nothing" in await opened.info()
    await page.fill("#filter", "status=finished agent~llama place>0.3")
    agents, chosen = await opened.column("agent"), await opened.column("position")
    async with page.expect_download() as saving:
        await page.click("#csv")
    await (await saving.value).save_as(tmp_path / "x.csv")
    async with page.expect_download() as saving:
        await page.click("#json")
    await (await saving.value).save_as(tmp_path / "x.json")
    await page.fill("#filter", "stauts=finished")
    complaint = await page.inner_text("#filter-error")

    assert places == sorted(places, reverse=True)
    assert places[0] == 100.0
    assert set(agents) == {"openai (llama-70b)"}
    assert all(float(text.removesuffix(" %")) > 30 for text in chosen)
    assert (tmp_path / "x.csv").read_text().count("\n") == len(chosen) + 1
    rows = json.loads((tmp_path / "x.json").read_text())
    assert {row["agent"] for row in rows} == {"openai (llama-70b)"}
    assert len(rows) == len(chosen)
    assert complaint.startswith("no column named stauts; known: run, task, agent")


async def test_a_cell_of_the_matrix_leads_to_its_episodes(opened: Opened) -> None:
    await opened.page.click("#tasks tbody tr:has-text('task-003') td.heat a >> nth=0")

    assert set(await opened.column("task")) == {"task-003"}
    assert len(set(await opened.column("agent"))) == 1


async def test_a_failure_leads_to_its_step(opened: Opened) -> None:
    page = opened.page

    await page.click("#failure-list tr:has-text('ZeroDivisionError') td.number a")
    await page.wait_for_url("**/episodes/*.html#cell-id=step-0014")
    target = await page.evaluate("document.querySelector(':target').textContent")
    await page.click("nav.steps a.back")
    await page.wait_for_selector("dialog[open]")
    title = await page.inner_text("#run-title")

    assert "ZeroDivisionError" in target
    assert title == "scripted (no-model) on tiny, seed 3"


async def test_two_runs_are_shown_side_by_side(opened: Opened) -> None:
    page = opened.page
    await page.fill("#filter", "task=tiny")
    boxes = page.locator("#episodes tbody input[type=checkbox]")

    await boxes.nth(0).check()
    await boxes.nth(1).check()
    await page.click("#compare")
    await page.wait_for_selector("dialog[open]")
    names = await page.locator("dialog tr.differs:visible th").all_inner_texts()
    equal = await page.locator("dialog tr:has(th:text-is('task'))").is_visible()
    await page.check("#all-fields")
    then = await page.locator("dialog tr:has(th:text-is('task'))").is_visible()
    await page.click("dialog summary:has-text('side by side')")
    frames = [page.frame_locator(f"dialog iframe >> nth={n}") for n in (0, 1)]
    heads = [await frame.locator("h1").first.inner_text() for frame in frames]

    assert "steps" in names
    assert (equal, then) == (False, True)
    assert all(head.startswith("Tiny") for head in heads)


async def test_the_keyboard_alone_is_enough(opened: Opened) -> None:
    page = opened.page
    await page.focus("#filter")
    await page.keyboard.type("task=tiny")
    for _ in range(40):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.getAttribute('aria-label') || ''")
        if focused.startswith("steps:"):
            break
    await page.keyboard.press("Enter")
    order = await page.locator("#episodes th[aria-sort]").get_attribute("aria-sort")
    steps = [int(text) for text in await opened.column("steps")]
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('#episodes tbody a')"):
            break
    await page.keyboard.press("Enter")
    await page.wait_for_selector("dialog[open]")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("dialog:not([open])", state="attached")

    assert order == "ascending"
    assert steps == sorted(steps)


async def test_an_address_names_a_run_and_a_step(opened: Opened, report: Path) -> None:
    await opened.page.goto("about:blank")
    await opened.page.goto(f"{(report / 'index.html').as_uri()}#run={RUN}&step=14")

    await opened.page.wait_for_url("**/episodes/*.html#cell-id=step-0014")


async def test_a_phone_and_a_printer_show_all_of_it(browser: Any, report: Path) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 800})
    found = await opened_in(context)
    await found.goto((report / "index.html").as_uri())
    page = found.page

    widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    await page.set_viewport_size({"width": 1030, "height": 720})  # A4, landscape
    await page.emulate_media(media="print")
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    printed = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    shown = {
        part: await page.locator(part).first.is_visible()
        for part in ("nav", ".tools", ".dt-paging", "#episodes", "#results", "details.domain table")
    }
    await context.close()

    assert widths[0] <= widths[1]
    assert printed[0] <= printed[1]
    assert shown == {
        "nav": False,
        ".tools": False,
        ".dt-paging": False,
        "#episodes": True,
        "#results": True,
        "details.domain table": True,
    }


async def test_without_a_program_all_tables_are_there(browser: Any, report: Path) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto((report / "index.html").as_uri())

    rows = await page.locator("#all noscript tbody tr").count()
    await page.click("#all noscript a:has-text('tiny') >> nth=0")
    await page.wait_for_url("**/episodes/*.html")
    await context.close()

    assert rows == 44


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a report on an episode whose words and displays are all hostile."""
    runs = tmp_path_factory.mktemp("hostile")
    words = [text.encode(errors="replace").decode() for text in HOSTILE.values()]
    displays = tuple(display(d) for name, d in HOSTILE_DISPLAYS.items() if name != "broken text")
    name = HOSTILE["a script"]
    header = replace(HEADER, agent=name, task=name, description="\n\n".join(words))
    with closing(Journal(runs / "journal.jsonl", header)) as journal:
        for step, text in enumerate(words, 1):
            error = {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]}
            outputs = (*displays, error) if step == 1 else (error,)
            outcome = CellExecuted(cell=Cell(outputs=outputs))
            journal.append(replace(cell_step(step, text), thought=text, outcome=outcome))
        journal.end(Ending(status="agent_failed", reason=name, spent=Spent()))
    done = run_cli("report", runs, "--out", runs / "report")
    assert done.returncode == 0, done.stderr
    return runs / "report"


async def test_hostile_episodes_stay_dead(browser: Any, hostile_report: Path) -> None:
    context = await browser.new_context()
    found = await opened_in(context)
    await found.goto((hostile_report / "index.html").as_uri())
    page = found.page
    await page.click("#episodes tbody a >> nth=0")
    await page.wait_for_selector("dialog[open]")
    inside = await page.locator("dialog .body").inner_text()
    elements = await page.locator("dialog :is(script, img, iframe, object, form)").count()
    scripts = await page.evaluate("document.scripts.length")
    for path in (hostile_report / "episodes").glob("*.html"):
        await page.goto(path.as_uri())
        assert await page.evaluate("document.scripts.length") == 0
        assert await page.evaluate("window.pwned") is None
    await context.close()

    assert "<script>" in inside
    assert (elements, scripts) == (0, 3)
    assert found.said == []
    allowed = (hostile_report.as_uri(), "data:image/", "about:blank")
    assert [url for url in found.requests if not url.startswith(allowed)] == []


HOLE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    "<svg onload='window.pwned = 1'></svg><img src='http://127.0.0.1:9/a.png'>"
    "<link rel=stylesheet href='http://127.0.0.1:9/a.css'><iframe srcdoc='<script>top.pwned = 1"
    "</script>'></iframe><script src='http://127.0.0.1:9/a.js'></script>"
)


async def test_the_policy_of_the_pages_holds_by_itself(
    browser: Any, report: Path, tmp_path: Path
) -> None:
    episode = next((report / "episodes").glob("*.html"))
    for path in (report / "index.html", episode):
        context = await browser.new_context()
        reached: list[str] = []
        await context.route(
            re.compile("^http"), lambda _, request, reached=reached: reached.append(request.url)
        )
        found = await opened_in(context)
        torn = tmp_path / path.name
        torn.write_text(path.read_text().replace("<body", f"<body>{HOLE}<div", 1))

        await found.page.goto(torn.as_uri())
        await found.page.wait_for_load_state()
        pwned = await found.page.evaluate("window.pwned")
        await context.close()

        assert pwned is None
        assert reached == []
        refused = [text for text in found.said if "Content Security Policy" in text]
        assert len(refused) >= 5
