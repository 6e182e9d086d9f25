"""The attack of `docs/probing.md` runs, and gains nothing where the page says so."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "probing.py"


def test_probing_gains_by_public_scores_and_not_by_the_ladder() -> None:
    argv = [sys.executable, "-W", "ignore", SCRIPT, "image-segment", "--submissions", "5"]
    protocols = ["--protocol", "public", "--protocol", "ladder"]
    done = subprocess.run([*argv, *protocols], capture_output=True, text=True, check=True)

    _, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()
    ]
    gains = {row[1]: [cell.removesuffix(" %").split(" → ") for cell in row[2:]] for row in rows}
    places = {name: [float(value) for value in cells[0]] for name, cells in gains.items()}
    assert places["public"][1] > places["public"][0]
    assert places["ladder"][1] == places["ladder"][0]
    for cells in gains.values():
        assert float(cells[3][1]) == round(float(cells[0][1]) / 100, 2)  # progress is the place
