"""`run --watch` serves a page of each running episode: complete, harmless, only to who may see it."""

import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.grading.host import Grader
from kernel_env.watch import WatchServer
from support.episodes import SUBMIT_LINE, OpenTiny, execute
from support.live_pages import Reader, request, status
from support.pictures import PNG
from support.v01 import EPISODES

HOSTILE = r"""
from IPython.display import HTML, display
print("<script>alert(1)</script>\x1b[31m</pre><img src=http://x/>")
display({"image/png": '"><script>alert(2)</script>'}, raw=True)
display({"image/svg+xml": "<svg onload=alert(3)>", "text/html": "<script>alert(4)</script>"}, raw=True)
raise ValueError("</style><script>alert(5)</script>")
"""


def is_answered(url: str) -> bool:
    """Return whether a process still serves pages there."""
    try:
        status(url)
    except OSError:
        return False
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all episodes."""
    async with Grader() as shared:
        yield shared


@pytest.fixture
def open_tiny(tiny: str, tmp_path: Path, grader: Grader) -> OpenTiny:
    """A function that opens an episode of the tiny task."""
    return partial(open_episode, tiny, sandbox="local", out=tmp_path, grader=grader)


@pytest.fixture(scope="module")
def watching() -> Iterator[WatchServer]:
    """One process that serves pages."""
    with WatchServer() as server:
        yield server


def links(page: str) -> list[str]:
    return re.findall(r'<a href="([^"]+)"', page)


async def test_a_page_shows_the_steps_as_they_come_and_ends_with_the_episode(
    open_tiny: OpenTiny, watching: WatchServer
) -> None:
    async with open_tiny(agent="me") as episode:
        watching.add(episode.folder)
        page = Reader(f"{watching.url}{episode.folder.name}/")
        await episode.act(ExecuteCode(code="print(6 * 7)"), thought="I think.")
        page.wait_for("42")
        await execute(episode, SUBMIT_LINE)
        page.wait_for("Submission graded: public score 0.0880")
        await episode.act(ExecuteCode(code=PNG), actor="human")
        page.wait_for('class="person"')
    page.join(10)

    for part in (
        "<title>Tiny",
        "I think.",
        "2 of 30",
        "rmse",
        "Score over steps",
        "private score",
    ):
        assert part.lower() in page.page.lower(), part
    assert page.page.endswith("</html>")
    assert page.page.count("data:image/png;base64,iVBOR") >= 2, "the picture and the chart"
    for name, value in (
        ("Content-Security-Policy", "default-src 'none'"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ):
        assert value in (page.answer.headers[name] or "")


async def test_a_page_of_hostile_output_has_no_tag_of_it(
    open_tiny: OpenTiny, watching: WatchServer
) -> None:
    async with open_tiny() as episode:
        watching.add(episode.folder)
        await episode.act(ExecuteCode(code=HOSTILE), thought="</pre><script>alert(0)</script>")
    page = Reader(f"{watching.url}{episode.folder.name}/")
    page.join(10)

    assert "alert(5)" in page.page
    assert "\x1b" not in page.page
    tags = set(re.findall(r"<(\w+)", page.page))
    assert tags <= {
        *("html", "meta", "title", "style", "p", "header", "h1", "h2", "details", "summary"),
        *("pre", "section", "div", "table", "tr", "th", "td"),
    }
    nonce = re.search(r"style-src 'nonce-([\w-]+)'", page.answer.headers["Content-Security-Policy"])
    assert nonce
    assert set(re.findall(r"<style([^>]*)>", page.page)) == {f' nonce="{nonce[1]}"'}
    assert "://" not in re.sub(
        r"&lt;.*?&gt;", "", re.sub(r"<pre.*?</pre>", "", page.page, flags=re.DOTALL)
    )


def test_only_who_knows_the_token_and_asks_for_this_machine_gets_a_page(
    watching: WatchServer, tmp_path: Path
) -> None:
    url = watching.url
    port = urlsplit(url).port
    token = urlsplit(url).path

    assert status(url) == 200
    assert status(url, Host="localhost:9999") == 200, "a tunnel has another port"
    assert status(url, Host=f"evil.example:{port}") == 421
    assert status(url, Host="") == 421
    assert status(url, "/") == 404
    assert status(url, f"/{'x' * 43}/") == 404
    assert status(url, token[:-2] + "/") == 404
    for path in ("..", "../../etc/passwd", "%2e%2e/", "unknown/", f"{tmp_path}/"):
        assert status(url, f"{token}{path}") == 404
    connection, answer = request(url, "/x/")
    assert urlsplit(url).path.strip("/") not in answer.read().decode()
    connection.close()


async def test_the_list_has_all_episodes(open_tiny: OpenTiny) -> None:
    with WatchServer() as watching:
        page = Reader(watching.url)
        page.wait_for("No episode has begun yet")
        episodes: list[Episode] = []
        for agent in ("first", "<second>"):
            async with open_tiny(agent=agent) as episode:
                watching.add(episode.folder)
                await execute(episode, SUBMIT_LINE)
                episodes.append(episode)
        page.wait_for("&lt;second&gt;")
        page.wait_for("0.0880")
        running = Reader(f"{watching.url}{episodes[0].folder.name}/")
        running.join(10)
    page.join(10)

    assert set(links(page.page)) == {f"{episode.folder.name}/" for episode in episodes}
    assert "finished" in page.page
    assert "The run has ended" in page.page


WAITING_RUN = """
import sys, time
from pathlib import Path
from kernel_env.watch import WatchServer
watching = WatchServer()
watching.add(Path(sys.argv[1]))
print(watching.url, flush=True)
time.sleep(60)
"""


def test_the_pages_of_a_killed_run_end() -> None:
    folder = EPISODES / "interrupted-journal"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_RUN, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()

    page = Reader(f"{url}{folder.name}/")
    page.wait_for("Step 1")
    process.kill()
    process.communicate()
    page.join(15)

    assert "The run has ended" in page.page
    for _ in range(100):
        if not is_answered(url):
            return
        time.sleep(0.1)
    raise AssertionError("the process that serves pages outlives the run")
