"""A page of a running episode in a browser: it grows, and what a cell displays does nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.watch import WatchServer

HOSTILE = """
from IPython.display import HTML, display
print("<script>document.title = 'gone'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>")
display(HTML("<script>document.title = 'gone'</script><style>@import 'http://127.0.0.1:9/'</style>"))
display({"image/png": "' onerror=alert(1) src='http://127.0.0.1:9/y"}, raw=True)
"""


@pytest.mark.browser
async def test_a_page_grows_and_asks_for_nothing(browser: Any, tiny: str, tmp_path: Path) -> None:
    page = await browser.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    with WatchServer() as watching:
        async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
            watching.add(episode.folder)
            url = f"{watching.url}{episode.folder.name}/"
            await page.goto(url, wait_until="commit")
            for number in (1, 2):
                await episode.act(ExecuteCode(code=HOSTILE), thought=HOSTILE)
                await page.wait_for_selector(f"text=Step {number} ·")
            standing = await page.locator(".now:visible").all_inner_texts()
        await page.wait_for_selector("text=Ended: finished")
    title, stale = await page.title(), await page.locator("#stale").is_visible()
    await page.close()

    assert requests == [url]
    assert complaints == []
    assert title.startswith("Tiny")
    assert not stale
    assert len(standing) == 1
    assert "2 of 30" in standing[0]


@pytest.mark.browser
async def test_a_person_answers_on_the_page(browser: Any, tiny: str, tmp_path: Path) -> None:
    page = await browser.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(f"{request.method} {request.url}"))
    page.on("console", lambda message: complaints.append(message.text))
    with WatchServer() as watching:
        async with open_episode(
            tiny,
            sandbox="local",
            out=tmp_path,
            feedback_provider="human",
            feedback_settings={"page": watching},
        ) as episode:
            watching.add(episode.folder)
            url = f"{watching.url}{episode.folder.name}/"
            for number, said in ((1, "<b>Try</b>\n3 * x"), (2, "")):
                acting = asyncio.ensure_future(episode.act(ExecuteCode(code=HOSTILE)))
                if number == 1:
                    await page.goto(url, wait_until="commit")
                field = page.get_by_label("The agent waits for your feedback")
                await field.fill(said)
                await page.get_by_role("button", name="Send").click()
                await acting
                seen = episode.observation.text
                assert ("<b>Try</b>" in seen) == (number == 1)
                await page.wait_for_selector(f"text=Step {number} ·")
            await page.wait_for_selector("form", state="hidden")
            shown = await page.locator("section", has_text="feedback by human").inner_text()
        await page.wait_for_selector("text=Ended: finished")
    title = await page.title()
    await page.close()

    remarks = [step.remark and step.remark.text for step in episode.steps]
    assert remarks == ["<b>Try</b>\n3 * x", None]
    assert "<b>Try</b>\n3 * x" in shown
    assert requests == [f"GET {url}", *[f"POST {url}", f"GET {url}"] * 2]
    assert complaints == []
    assert title.startswith("Tiny")
