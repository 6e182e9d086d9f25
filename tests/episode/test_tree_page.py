"""The tree page shows each branch of an episode once, and links to its notebook."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.journal import Journal
from kernel_env.episode.trajectory import Fork
from kernel_env.episode.tree_page import read_branches, tree_page, write_tree
from kernel_env.errors import UsageError
from support.cli import error_line, run_cli
from support.episodes import SUBMIT_LINE
from support.hostile_text import HOSTILE
from support.trajectories import HEADER, cell_step


class Links(HTMLParser):
    """Collects the links of a page and the places that they can lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert not [name for name in values if name.startswith("on")]
        assert tag != "script"
        if tag == "a":
            self.targets.append(values["href"] or "")
        if "id" in values:
            self.places.add(values["id"] or "")


async def test_a_tree_has_the_steps_of_each_branch_once(episode: Episode) -> None:
    await episode.act(ExecuteCode(code="x = 'shared'"))
    first, second = await episode.fork(2)
    await first.act(ExecuteCode(code=SUBMIT_LINE))
    await second.act(ExecuteCode(code="1 / 0  # the second branch"))
    (third,) = await first.fork()
    await third.act(ExecuteCode(code="z = 'grandchild'"))
    for one in (third, second, first, episode):
        await one.end()
    path = episode.folder / "tree.html"

    write_tree(episode.family, path)

    page = path.read_text()
    for code in ("x = &#x27;shared&#x27;", "z = &#x27;grandchild&#x27;"):
        assert page.count(code) == 1, code
    assert "the second branch" in page
    links = Links(page)
    notebooks = {unquote(link) for link in links.targets if not link.startswith("#")}
    assert len(notebooks) == 4
    assert all((path.parent / link).is_file() for link in notebooks)
    assert {link[1:] for link in links.targets if link.startswith("#")} <= links.places
    assert len([link for link in links.targets if link.startswith("#")]) == 4
    assert 'class="step error"' in page
    assert 'class="step graded best"' in page
    assert not re.search(r'(?:src|href)="(?:https?:|//)', page)


def journal(folder: Path, name: str, fork: Fork | None = None, code: str = "1") -> Path:
    """Write the journal of an episode with one step."""
    folder.mkdir(exist_ok=True)
    header = replace(HEADER, episode=name, fork=fork, task_name=code)
    written = Journal(folder / "journal.jsonl", header)
    written.append(replace(cell_step(1, code), thought=code))
    written.close()
    return folder


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_are_text(tmp_path: Path, name: str) -> None:
    text = HOSTILE[name].encode(errors="replace").decode()

    page = tree_page(read_branches([journal(tmp_path / "a", text, code=text)]), tmp_path)

    assert len(Links(page).targets) == 2  # the notebook, the step
    assert not re.search(r"<(?:script|iframe|img|form|style(?=[^>]))", page)


def test_forks_whose_parent_is_missing_are_shown(tmp_path: Path) -> None:
    fork = Fork(episode="gone", step=1, how="copy")

    page = tree_page(read_branches([journal(tmp_path / "a", "a", fork)]), tmp_path)

    assert "forked from gone, which is not shown here" in page


def test_forks_of_each_other_are_an_error(tmp_path: Path) -> None:
    one = journal(tmp_path / "a", "a", Fork(episode="b", step=1, how="copy"))
    other = journal(tmp_path / "b", "b", Fork(episode="a", step=1, how="copy"))

    with pytest.raises(UsageError, match="forks of each other"):
        read_branches([one, other])


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    journal(tmp_path / "a", "a")

    done = run_cli("report", tmp_path, "--format", "tree", "--out", tmp_path / "x.html")

    assert done.stdout == f"page: {tmp_path / 'x.html'}\n"
    assert "<svg" in (tmp_path / "x.html").read_text()
    assert "and no journal" in error_line(run_cli("report", tmp_path / "b", "--format", "tree"))
