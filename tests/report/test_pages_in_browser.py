"""Pages of hostile episodes make no request and run nothing in a browser."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_env.episode.html_page import write_page
from kernel_env.episode.journal import Journal
from kernel_env.episode.notebook import render
from kernel_env.episode.reading import read_trajectory
from kernel_env.episode.step import CellExecuted
from kernel_env.episode.tree_page import write_tree
from kernel_env.kernel.cell import Cell
from kernel_env.report.page import page_of
from support.hostile_displays import HOSTILE_DISPLAYS, display
from support.hostile_text import HOSTILE
from support.trajectories import HEADER, cell_step

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an episode whose words and displays are all hostile."""
    folder = tmp_path_factory.mktemp("run")
    words = [text.encode(errors="replace").decode() for text in HOSTILE.values()]
    displays = tuple(display(d) for name, d in HOSTILE_DISPLAYS.items() if name != "broken text")
    header = replace(HEADER, agent=words[0], description="\n\n".join(words))
    with closing(Journal(folder / "journal.jsonl", header)) as journal:
        for number, text in enumerate(words, 1):
            outcome = CellExecuted(cell=Cell(outputs=displays if number == 1 else ()))
            journal.append(replace(cell_step(number, text), thought=text, outcome=outcome))
    return folder


@pytest.mark.parametrize("kind", ["episode", "tree"])
async def test_a_page_of_a_hostile_episode_asks_nobody(
    browser: Any, hostile_run: Path, kind: str
) -> None:
    path = hostile_run / f"{kind}.html"
    if kind == "tree":
        write_tree([hostile_run], path)
    else:
        write_page(page_of(render(read_trajectory(hostile_run))), path)
    page = await browser.new_page()
    requests: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))

    await page.goto(path.as_uri())
    scripts = await page.evaluate("document.scripts.length")
    await page.close()

    assert [url for url in requests if not url.startswith("data:image/")] == [path.as_uri()]
    assert dialogs == []
    assert scripts == 0
