"""A served report renews itself, and answers nobody but this machine and who knows its token."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from kernel_env.report.html_report import Options
from kernel_env.report.serve import LiveReport
from support.browser import WAIT_MS
from support.report_runs import made_records, write_records
from support.v01 import EPISODES


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveReport]:
    """A report on a real episode, one that has not ended, and a few records."""
    folder = tmp_path_factory.mktemp("served")
    runs = write_records(folder / "runs", list(made_records(1, 2, domains=["tabular"])))
    for name in ("finished", "interrupted-journal"):
        shutil.copytree(EPISODES / name, runs / name)
    with LiveReport([runs], folder / "report", Options()) as live:
        thread = threading.Thread(target=live.serve)
        thread.start()
        yield live
        live.stop()
        thread.join()


def get(url: str, path: str, **headers: str) -> http.client.HTTPResponse:
    address = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_the_page_its_state_and_its_files_are_served(served: LiveReport) -> None:
    base = urlsplit(served.url).path

    page = get(served.url, base)
    text = page.read().decode()
    state = json.loads(get(served.url, f"{base}state.json").read())
    episode = next((served.out / "episodes").glob("*.html"))
    inner = get(served.url, f"{base}episodes/{episode.name}")
    run = quote("20261128-040149-fe1917")
    file = get(served.url, f"{base}files/{run}/journal.jsonl")

    assert page.status == inner.status == file.status == 200
    assert f'data-version="{state["version"]}"' in text
    assert state["summary"] == "11 episodes have ended, 1 not yet"
    assert [line.partition(":")[0] for line in state["running"]] == ["tiny, scripted, seed 0"]
    assert inner.read() == episode.read_bytes()
    assert file.read().startswith(b'{"')
    assert file.headers["Content-Disposition"] == "attachment"
    policies = [answer.headers["Content-Security-Policy"] for answer in (page, inner, file)]
    assert all("frame-ancestors 'self'" in policy for policy in policies)
    assert "connect-src 'self'" in policies[0]
    assert "script-src" not in policies[1] + policies[2]


@pytest.mark.parametrize(
    "path",
    [
        *("record.json", "episodes/../index.html", "episodes/", "files/x/record.json"),
        *("%2e%2e/%2e%2e/etc/passwd", "episodes/%2e%2e/%2e%2e/runs", "files/x/../../a"),
    ],
)
def test_nothing_else_is_served(served: LiveReport, path: str) -> None:
    assert get(served.url, urlsplit(served.url).path + path).status == 404


def test_other_names_and_tokens_are_refused(served: LiveReport) -> None:
    path = urlsplit(served.url).path

    assert get(served.url, path, Host="evil.example").status == 421
    assert get(served.url, "/" + "x" * 43 + "/").status == 404
    assert get(served.url, "/index.html").status == 404


def test_ctrl_c_ends_the_command_and_its_address(tmp_path: Path) -> None:
    runs = write_records(tmp_path / "runs", list(made_records(1, 1)))
    argv = [sys.executable, "-m", "kernel_env.cli", "report", str(runs), "--serve"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("report: ").strip()
        status = get(url, urlsplit(url).path).status
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0

    assert status == 200
    with pytest.raises(ConnectionError):
        get(url, urlsplit(url).path)


def test_a_report_waits_for_the_first_episode(tmp_path: Path) -> None:
    shutil.copytree(EPISODES / "interrupted-journal", tmp_path / "runs" / "one")

    with LiveReport([tmp_path / "runs"], tmp_path / "report", Options()) as live:
        before = live.shown
        shutil.copytree(EPISODES / "finished", tmp_path / "runs" / "two")
        live.look()

    assert "No episode has ended yet." in before.page
    assert "tiny, scripted, seed 0: step" in before.page
    assert live.shown.summary == "1 episodes have ended, 1 not yet"


@pytest.mark.browser
async def test_the_page_renews_itself_and_keeps_what_is_open(
    browser: Any, served: LiveReport
) -> None:
    page = await browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_default_timeout(WAIT_MS)
    await page.goto(served.url)
    await page.wait_for_selector("#live li:has-text('tiny, scripted')")
    await page.fill("#filter", "agent~llama")
    await page.click("#all-measures summary")
    before = await page.locator("#episodes tbody tr").count()

    write_records(served.runs[0], list(made_records(2, 2, domains=["tabular"])))
    await page.wait_for_selector("#live strong:has-text('21 episodes have ended')")
    await page.wait_for_selector("#episodes td:has-text('task-001')")
    after = await page.locator("#episodes tbody tr").count()
    opened = await page.locator("#all-measures").get_attribute("open")
    kept = await page.input_value("#filter")
    await page.close()

    assert (before, after) == (2, 4)
    assert opened is not None
    assert kept == "agent~llama"
    assert said == []
