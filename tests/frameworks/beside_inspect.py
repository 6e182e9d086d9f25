"""Measure our report beside the log viewer of Inspect AI: opened and sorted, in the same browser.

    python tests/frameworks/beside_inspect.py [SAMPLES]

The log has as many samples as the report has records, 5,000 by default. The viewer runs in the
environment that `make test-frameworks` makes for it, everything else in this one. Prints a table.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

sys.path.append(str(Path(__file__).parents[1]))
from run import FOLDER, ROOT

from kernel_env.bench.reports import AGENTS, SEEDS, open_report, records
from kernel_env.episode.result import RECORD
from kernel_env.report.html_report import Options, write_report
from kernel_env.report.recorded import find_recorded
from support.browser import find_browser
from support.exports import write

BIN = FOLDER / "inspect" / "bin"
ROUNDS = 5
OURS = ("#episodes th", "#episodes tbody tr")
THEIRS = ('[role="columnheader"]', '[role="grid"] [role="row"][aria-rowindex="2"]')
"""Selectors of the heads of columns, and of the first row, of each table."""
SORT_BY_SCORE = """async ([heads, row]) => {
  const first = () => document.querySelector(row)?.innerText;
  const head = [...document.querySelectorAll(heads)].find(
    each => each.innerText.trim().toLowerCase().startsWith('private'));
  const before = first();
  (head.querySelector('.dt-column-order') ?? head).click();
  while (first() === before) await new Promise(requestAnimationFrame);
}"""
"""Sorts a table by the private score, which differs from row to row, until another row is the first."""
COMPLETE = """number => [...document.querySelectorAll('[role="grid"]')]
  .some(grid => Number(grid.getAttribute('aria-rowcount')) === number + 1)"""
"""Whether the viewer's table has all samples, and its head."""
SETTLED_MS = 3_000
"""Time for cells that are filled in later: only then is a changed row due to the sorting."""


def missing() -> str:
    """Return what this machine lacks for the measurement; empty if it lacks nothing."""
    lacking = [name for name in ("playwright", "jinja2", "vl_convert") if not find_spec(name)]
    if lacking:
        return f"it needs {', '.join(lacking)}"
    if find_browser() is None:
        return "it needs a browser: apt-get install chromium"
    if not (BIN / "inspect").exists():
        return "it needs Inspect AI: python tests/frameworks/run.py inspect"
    return ""


def write_ours(folder: Path, number: int) -> Path:
    """Write records and a report on them; return its page."""
    for n, record in enumerate(records(max(1, number // (AGENTS * SEEDS)))):
        (folder / "records" / str(n)).mkdir(parents=True)
        (folder / "records" / str(n) / RECORD).write_text(json.dumps(record.json()))
    found = find_recorded([folder / "records"], lambda *_: None)
    return write_report(found, folder / "report", Options(pages=0), lambda *_: None).page


def write_theirs(folder: Path, number: int) -> Path:
    """Write journals, and export them as one log by the adapter; return the log's folder."""
    for n in range(number):
        write(folder / "runs" / f"e{n}", steps=2, place=(n * 7919 + number // 2) % number / number)
    export = ("-m", "kernel_env.cli", "export", "inspect", folder / "runs", "--out")
    subprocess.run(
        [BIN / "python", *export, folder / "logs"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    return folder / "logs"


@contextmanager
def viewer(logs: Path) -> Iterator[str]:
    """Run the viewer; yield the address of the table of the log's samples."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [BIN / "inspect", "view", "start", "--log-dir", logs, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                with urlopen(f"{address}/api/logs", timeout=5) as answer:
                    (log,) = json.load(answer)["files"]
                break
            except (URLError, OSError):
                time.sleep(0.2)
        yield f"{address}/#/logs/{Path(log['name']).name}/samples/"
    finally:
        process.terminate()
        process.wait(30)


async def measure(
    browser: Any, page_file: Path, samples: str, number: int
) -> dict[str, list[float]]:
    """Open and sort both, in turn; return the seconds."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, selectors, opening in (
            ("report", OURS, lambda page: open_report(page, page_file)),
            ("viewer", THEIRS, lambda page: open_samples(page, samples, number)),
        ):
            context = await browser.new_context()  # without what the viewer keeps in the browser
            page = await context.new_page()
            found.setdefault(f"{name} opened", []).append(await timed(opening(page)))
            await page.wait_for_timeout(SETTLED_MS)
            sorting = page.evaluate(SORT_BY_SCORE, list(selectors))
            found.setdefault(f"{name} sorted", []).append(await timed(sorting))
            if name == "report":
                count = "new DataTable.Api('#episodes').rows().count()"
                assert await page.evaluate(count) == number
            await context.close()
    return found


async def open_samples(page: Any, address: str, number: int) -> None:
    """Open the table of samples, until it has all of them."""
    await page.goto(address)
    await page.wait_for_selector(THEIRS[1])
    await page.wait_for_function(COMPLETE, arg=number)


async def timed(awaitable: Any) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    await awaitable
    return time.perf_counter() - began


async def main(number: int) -> None:
    """Measure, and print a table."""
    from playwright.async_api import async_playwright

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page, logs = write_ours(folder, number), write_theirs(folder, number)
        with viewer(logs) as samples:
            async with async_playwright() as driver:
                browser = await driver.chromium.launch(
                    executable_path=find_browser(), args=["--no-sandbox"]
                )
                found = await measure(browser, page, samples, number)
                await browser.close()
    medians = {name: statistics.median(times) for name, times in found.items()}
    print(f"{number:,} episodes, medians of {ROUNDS}")
    for what in ("opened", "sorted"):
        ours, theirs = medians[f"report {what}"], medians[f"viewer {what}"]
        print(f"{what}: report {ours:.2f} s, viewer {theirs:.2f} s, ratio 1/{theirs / ours:.1f}")


if __name__ == "__main__":
    if reason := missing():
        sys.exit(f"not measured: {reason}")
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000))
