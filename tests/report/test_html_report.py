"""The report is a page that is complete without a program, runs only ours, and repeats itself."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kernel_env.errors import UsageError
from kernel_env.report.episode_rows import rows_of, script_json
from kernel_env.report.html_report import ASSETS, Options, choose_pages, write_report
from kernel_env.report.recorded import find_recorded
from support.cli import error_line, run_cli
from support.hostile_text import HOSTILE
from support.report_runs import REAL, made_records
from support.v01 import EPISODES

DIGESTS = {
    "License.txt": "62b5fdd54371b4f6bd07a60dbc78b38814f49a8028213f540dc2733cad605382",
    "dataTables.dataTables.min.css": "156624d53bf9385a37f857fbc290361d4104d3536d30930fb86bce5cc0f19387",
    "dataTables.min.js": "38017a5586acd9c6eb6bbfe8b6938e1a25bdc717c5acfcb07e0c9d663282c59d",
}
"""Of the files of DataTables 3.1.5 and its style 3.1.2, as they are published."""
PARTS_OF_PAGE = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "div", "h1", "h2", "h3"),
    *("nav", "main", "section", "dl", "dt", "dd", "p", "ul", "li", "table", "thead", "tbody", "tr"),
    *("th", "td", "span", "small", "details", "summary", "figure", "figcaption", "input", "button"),
    *("noscript", "dialog", "script", "strong", "caption"),
}
PARTS_OF_DRAWING = {"svg", "g", "path", "rect", "line", "text", "defs", "clippath"}


def write(runs: Path, out: Path, **options: Any) -> str:
    found = find_recorded([runs], lambda *_: None)
    written = write_report(found, out, Options(**options), lambda *_: None)
    return written.page.read_text()


class Rows(HTMLParser):
    """Collects the texts of the rows of all tables, also where no program runs."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


class Elements(HTMLParser):
    """Collects elements, attributes and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses |= {value for name, value in attrs if name in ("href", "src")}


def test_the_vendored_program_is_the_published_one() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ASSETS / "datatables").iterdir()
    }

    assert found == DIGESTS


def test_every_episode_is_in_the_page_without_a_program(runs: Path, report: Path) -> None:
    parser = Rows()
    parser.feed((report / "index.html").read_text())

    ended = find_recorded([runs], lambda *_: None).ended
    starts = {r.result.started[:16].replace("T", " ") for r in ended}
    dated = [row for row in parser.rows if starts & set(row)]
    assert len(ended) == 4 * 5 * 2 + len(REAL) - 1
    assert len(dated) == len(ended)


def test_the_same_runs_in_another_order_give_the_same_bytes(runs: Path, report: Path) -> None:
    pages = sorted((report / "episodes").glob("*.html"))
    before = {page: page.stat().st_mtime_ns for page in pages}
    text = (report / "index.html").read_text()
    folders = [path.parent for path in runs.rglob("*.json*") if path.suffix in (".json", ".jsonl")]
    random.Random(0).shuffle(folders)

    found = find_recorded(list(dict.fromkeys(folders)), lambda *_: None)
    write_report(found, report, Options(title="A & B <i>"), lambda *_: None)

    assert (report / "index.html").read_text() == text
    assert len(pages) == len(REAL) - 1
    assert {page: page.stat().st_mtime_ns for page in pages} == before, "they are used again"
    assert all(f"episodes/{page.name}" in text for page in pages)


def test_a_page_of_an_episode_leads_to_its_steps_and_back(report: Path) -> None:
    pages = [path.read_text() for path in (report / "episodes").glob("*.html")]

    (page,) = [page for page in pages if "ZeroDivisionError" in page]
    links = re.findall(r'<a class="(\w*)"[^>]*href="#([^"]+)"', page)
    assert len(links) == 27
    assert all(f'id="{anchor}"' in page for _, anchor in links)
    assert [look for look, _ in links].count("graded") == 3
    assert '"../index.html#run=20261128-040149-fe1917"' in page
    assert "<script" not in page


def test_drawings_have_texts_and_no_links(report: Path) -> None:
    page = (report / "index.html").read_text()

    drawings = re.findall(r"<svg role=\"img\" aria-label=\"([^\"]+)\"", page)
    assert "Score of each agent over its cost" in drawings
    assert len(drawings) > 6
    svg = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert not re.search(r"<(a|image|script|style|foreignObject|use)\b|href|\son\w+=", svg)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028&"])
def test_data_cannot_end_its_element(text: str) -> None:
    written = script_json({"x": text})

    assert not re.search("[<>&\u2028]", written)
    assert json.loads(written) == {"x": text}


def test_hostile_names_are_text(tmp_path: Path) -> None:
    record = next(made_records(1, 1))
    for number, text in enumerate(HOSTILE.values()):
        words = text.encode(errors="replace").decode()
        hostile = replace(
            record,
            task=words[:200],
            model=words[:200] if number % 5 < 2 else "",  # drawing rare characters takes seconds
            error=words,
            status="agent_failed",
            episode=words[:60],
            errors={words[:200]: 1},
            host=words,
            domain="\u2028</script>",
        )
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "record.json").write_text(json.dumps(hostile.json()))

    parser = Elements()
    parser.feed(write(tmp_path, tmp_path / "report"))

    assert parser.tags <= {*PARTS_OF_PAGE, *PARTS_OF_DRAWING}
    assert not [name for name in parser.attributes if name.startswith("on")]
    assert all(address.startswith("#") for address in parser.addresses)


def test_best_worst_and_failed_episodes_have_pages_first(runs: Path) -> None:
    rows = rows_of(find_recorded([runs], lambda *_: None).ended)

    chosen = choose_pages(rows, 35)

    assert len(chosen) == 35
    assert choose_pages(rows, None) == rows
    assert {row.run for row in rows if row.result.error} <= {row.run for row in chosen}


def test_a_folder_without_records_is_one_line(tmp_path: Path) -> None:
    error = error_line(run_cli("report", tmp_path))

    assert "has no record.json below it" in error
    shutil.copytree(EPISODES / "interrupted-journal", tmp_path / "run")
    assert "none of these runs has ended" in error_line(run_cli("report", tmp_path))


def test_a_record_of_a_newer_version_is_left_out_with_a_line(tmp_path: Path) -> None:
    shutil.copytree(EPISODES / "finished", tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "record.json").write_text('{"format": 99}')
    skipped: list[tuple[Path, str]] = []

    found = find_recorded([tmp_path], lambda *why: skipped.append(why))

    assert [each.folder.name for each in found.ended] == ["old"]
    assert [run for run, _ in skipped] == [tmp_path / "new"]
    assert "format 99" in skipped[0][1]


def test_a_measure_that_does_not_exist_is_one_line(runs: Path, tmp_path: Path) -> None:
    found = find_recorded([runs], lambda *_: None)

    with pytest.raises(UsageError, match="no measure named 'positon'; did you mean 'position'"):
        write_report(found, tmp_path, Options(measure="positon"), lambda *_: None)


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError("No module named " + name, name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in {names} else found(name, *more)
sys.meta_path.insert(0, Missing())
sys.argv = ["kernel-env", *{argv}]
from kernel_env.cli import main
main()
"""


def run_without(names: tuple[str, ...], *argv: object) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(names=repr(names), argv=[str(word) for word in argv])
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_a_report_without_the_extra_is_one_line(runs: Path, tmp_path: Path) -> None:
    failed = run_without(("jinja2",), "report", runs, "--out", tmp_path)

    assert failed.returncode == 2
    assert "pip install 'kernel-env[report]'" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_report_without_drawings_has_the_numbers(runs: Path, tmp_path: Path) -> None:
    libraries = ("vl_convert", "choix", "nbconvert")

    done = run_without(libraries, "report", runs, "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "no charts, only their numbers: vl_convert is not installed" in done.stderr
    page = (tmp_path / "index.html").read_text()
    assert "<svg" not in page.partition("<script")[0]
    assert "Cost against score" in page
    assert not (tmp_path / "episodes").exists()
