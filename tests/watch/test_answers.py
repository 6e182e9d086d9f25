"""A question on a live page has one answer, which only who may see the page can give."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from kernel_env.errors import UsageError
from kernel_env.watch import WatchServer
from kernel_env.watch.server import MAX_ANSWER_BYTES
from support.live_pages import Reader, request, status
from support.v01 import EPISODES

FOLDER = EPISODES / "interrupted-journal"
QUESTION = "[feedback]\n</pre><script>alert(1)</script>\x1b[31m\nfeedback on step 2: "


def form(number: int, answer: str) -> bytes:
    return urlencode({"question": number, "answer": answer}).encode()


@asynccontextmanager
async def asked(watching: WatchServer) -> AsyncIterator[tuple[asyncio.Future[str], Reader]]:
    """Ask on the page of an episode, and read it; withdraw the question at the end."""
    question = asyncio.ensure_future(watching.ask(FOLDER, QUESTION))
    await asyncio.sleep(0)
    page = await asyncio.to_thread(Reader, f"{watching.url}{FOLDER.name}/")
    await asyncio.to_thread(page.wait_for, "waits for your feedback")
    yield question, page
    question.cancel()
    await asyncio.wait([question])


async def test_the_first_answer_is_taken_and_the_page_shown_again() -> None:
    with WatchServer() as watching:
        url = f"{watching.url}{FOLDER.name}/"
        async with asked(watching) as (question, page):
            listed = await asyncio.to_thread(Reader, watching.url)
            await asyncio.to_thread(listed.wait_for, "waits for your feedback")
            connection, answer = request(url, body=form(1, "<b>ä & b</b>\r\nc"))
            connection.close()

            assert answer.status == 303
            assert url.endswith(answer.headers["Location"])
            assert await question == "<b>ä & b</b>\nc"
            assert status(url, body=form(1, "again")) == 409
            await asyncio.to_thread(page.wait_for, "#question1{display:none}")
            await asyncio.to_thread(listed.wait_for, "#now1{display:none}")

    assert "&lt;script&gt;" in page.page
    assert "<script" not in page.page
    assert "\x1b" not in page.page
    assert "form-action 'self'" in page.answer.headers["Content-Security-Policy"]
    assert "form-action 'none'" in listed.answer.headers["Content-Security-Policy"]


async def test_other_answers_are_refused() -> None:
    with WatchServer() as watching:
        url = f"{watching.url}{FOLDER.name}/"
        async with asked(watching) as (question, page):
            large = str(MAX_ANSWER_BYTES + 1)
            found = {
                "no token": status(url, "/x/", form(1, "a")),
                "another host": status(url, body=form(1, "a"), Host="evil.example"),
                "no episode": status(watching.url, body=form(1, "a")),
                "another number": status(url, body=form(2, "a")),
                "no number": status(url, body=b"answer=a"),
                "no form": status(url, body=b"{}"),
                "no UTF-8": status(url, body=b"question=1&answer=\xff"),
                "too many fields": status(url, body=b"question=1&answer=a&more=b"),
                "no length": status(url, body=b"", **{"Content-Length": "-1"}),
                "too long": status(url, body=b"", **{"Content-Length": large}),
                "far too long": status(url, body=b"", **{"Content-Length": "9" * 5000}),
            }
            answered = question.done()
        await asyncio.to_thread(page.wait_for, "#question1{display:none}")
        late = status(url, body=form(1, "a"))

    assert found == {
        "no token": 404,
        "another host": 421,
        "no episode": 404,
        "another number": 409,
        "no number": 400,
        "no form": 400,
        "no UTF-8": 400,
        "too many fields": 400,
        "no length": 411,
        "too long": 413,
        "far too long": 413,
    }
    assert not answered
    assert late == 409, "the question was withdrawn"


async def test_whoever_asks_is_told_that_the_page_has_ended() -> None:
    watching = WatchServer()
    async with asked(watching) as (question, _):
        await asyncio.to_thread(watching.close)

        with pytest.raises(UsageError, match="the process that serves the page"):
            await question
    with pytest.raises(UsageError, match="the process that serves the page"):
        await watching.ask(FOLDER, QUESTION)


@pytest.mark.slow
def test_a_run_without_a_terminal_asks_on_its_page(tiny: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernel_env.cli", "run", tiny, "--agent", "sample", "--watch"]
    options = ["--feedback-provider", "human", "--sandbox", "local", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [*command, *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = next(line for line in process.stderr if line.startswith("watch: ")).split()[1]
    listed = Reader(url)
    listed.wait_for("waits for your feedback")
    (name,) = set(re.findall(r'<a href="([^"]+)/"', listed.page))

    assert status(f"{url}{name}/", body=form(1, "Well done.")) == 303
    process.communicate(timeout=60)

    (journal,) = tmp_path.glob("*/*/journal.jsonl")
    assert "Well done." in journal.read_text()
