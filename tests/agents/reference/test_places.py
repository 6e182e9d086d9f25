"""The documented table of places has a row for each embedded task, with a place for each agent."""

import re
from pathlib import Path

from support.embedded_tasks import EMBEDDED, ROOT

PAGE = ROOT / "docs" / "reference" / "agents.md"


def rows() -> dict[str, list[str]]:
    """Return the table: the cells after the first one, by the first."""
    table = Path(PAGE).read_text().split("<!-- places -->")[1].split("<!-- end of places -->")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
    return {first: rest for first, *rest in lines if rest}


def test_the_table_has_every_task_and_every_agent() -> None:
    header = {"sample", "random-valid", "constant", "automl-lite"}
    found = rows()

    assert set(found["task"]) == header
    assert set(EMBEDDED) | {"task", "---", "**mean**"} == set(found)
    for task in EMBEDDED:
        assert all(re.fullmatch(r"\d+ / \d+", cell) for cell in found[task])


def test_the_generic_pipeline_beats_half_of_each_board() -> None:
    found = rows()
    column = found["task"].index("automl-lite")

    for task in EMBEDDED:
        assert min(map(int, found[task][column].split(" / "))) >= 50, task
