"""The documentation builds without a network, and its pages load nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    options = ["-E", "-W", "--keep-going", "-q", "-b", "html", "-D", "nb_execution_mode=off"]
    build = [sys.executable, "-m", "sphinx", *options, "-d", tmp_path / "trees"]

    done = subprocess.run(
        [*build, ROOT / "docs", tmp_path / "html"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+")
    for page in pages:
        text = page.read_text()
        assert loads.findall(text) == [], page
    shown = (tmp_path / "html" / "reference" / "budget.html").read_text()
    assert "cell_seconds" in shown
    assert "Time limit of a cell" in shown
