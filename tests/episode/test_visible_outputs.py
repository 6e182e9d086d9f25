"""What a notebook shows of a display can do nothing to its reader, whatever its type."""

import json
import re
from dataclasses import replace

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert import HTMLExporter

from kernel_env.episode.inert_html import ELEMENTS, EMPTY, MAX_NESTED, inert_html
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.step import CellExecuted
from kernel_env.episode.trajectory import Trajectory
from kernel_env.episode.visible_outputs import MAX_PIXELS, is_inside, is_picture, visible
from kernel_env.kernel.cell import Cell
from support.hostile_displays import HOSTILE_DISPLAYS, display, png
from support.trajectories import HEADER, cell_step

ACTIVE = (
    *("<script", "onerror=", "onload=", "onclick=", "javascript:", "<style", "<iframe", "<form"),
    *("<input", "<meta", "<link", "href", "position:", "<svg"),
)


PIECES = [
    *("<b>", "</b>", "<table>", "<tr><td>", "</table>", "<p", "<div title='", 'alt="', '">', "'"),
    *("<script>", "</script>", "<!--", "-->", "<!", "<?", "<img src=x onerror=a>", "</div>", "<"),
    *(
        "&lt;script&gt;",
        "&quot;",
        "<svg/onload=a>",
        "<br/>",
        "<td colspan=2>",
        "<a href=//x>",
        "\0",
    ),
]


@pytest.mark.parametrize("name", HOSTILE_DISPLAYS)
def test_what_is_shown_cannot_act(name: str) -> None:
    (shown,) = visible([display(HOSTILE_DISPLAYS[name])])

    text = json.dumps(shown).lower()
    for word in (*ACTIVE, "x.example" if name != "Markdown" else "![x]"):
        assert word not in text
    assert shown["data"]
    assert shown["metadata"] == {}


def test_an_ordinary_display_is_shown() -> None:
    table = "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"
    picture = png(3, 3)
    data = {
        "text/plain": "a",
        "text/html": f'{table}<img src="data:image/png;base64,{picture}">',
        "image/png": picture,
        "text/latex": r"$\frac{\alpha}{\sqrt{x}}$",
        "application/json": {"a": [1, None]},
    }

    (shown,) = visible([{"output_type": "display_data", "data": data, "metadata": {}}])

    assert shown["data"] == data


def test_a_table_of_pandas_keeps_its_rows() -> None:
    html = (
        "<div>\n<style scoped>\n .dataframe tbody tr th {vertical-align: top;}\n</style>\n<table"
        ' border="1" class="dataframe"><tbody><tr style="text-align: right;"><th>0</th><td>&lt;b&gt;'
        "</td></tr></tbody></table></div>"
    )

    assert "<table><tbody><tr><th>0</th><td>&lt;b&gt;</td></tr></tbody></table>" in inert_html(
        html, is_inside
    )


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4)).map("".join))
@settings(deadline=None)
def test_any_html_becomes_balanced_elements_that_cannot_act(html: str) -> None:
    found = inert_html(html, is_inside)

    assert found is not None
    opened = []
    for close, name, attributes in re.findall(r"<(/?)([a-z0-9]+)([^<>]*)>", found):
        assert name in ELEMENTS
        assert not re.search(r"\s(?:on\w+|style|href|class|id)=", attributes)
        if close:
            assert opened.pop() == name
        elif name not in EMPTY:
            opened.append(name)
    assert opened == []
    assert len(re.findall("<", found)) == len(re.findall(r"<(/?)([a-z0-9]+)([^<>]*)>", found))
    assert inert_html(found, is_inside) == found


def test_html_that_is_too_long_or_nested_too_deep_is_not_shown() -> None:
    for html in ("<b>" * (MAX_NESTED + 1), "x" * 1_000_001, "<p>" * 200_000):
        (shown,) = visible([display({"text/html": html})])
        assert list(shown["data"]) == ["text/plain"]


def test_pictures_have_a_limit_of_pixels() -> None:
    side = int(MAX_PIXELS**0.5)

    assert is_picture("image/png", png(side, side))
    assert not is_picture("image/png", png(side + 1, side + 1))
    assert not is_picture("image/jpeg", png(1, 1))
    assert not is_picture("image/png", "")


@pytest.mark.parametrize("name", sorted(set(HOSTILE_DISPLAYS) - {"broken text"}))
def test_the_trajectory_keeps_what_is_not_shown(name: str) -> None:
    outcome = CellExecuted(cell=Cell(outputs=(display(HOSTILE_DISPLAYS[name]),)))
    step = replace(cell_step(1), outcome=outcome)

    notebook = nbformat.reads(
        nbformat.writes(render(Trajectory(header=HEADER, steps=(step,)))), as_version=4
    )

    nbformat.validate(notebook)
    assert parse_notebook(notebook).steps == (step,)


def test_nbconvert_shows_nothing_that_runs() -> None:
    outputs = tuple(
        display(data) for name, data in HOSTILE_DISPLAYS.items() if name != "broken text"
    )
    step = replace(cell_step(1), outcome=CellExecuted(cell=Cell(outputs=outputs)))
    exporter = HTMLExporter(template_name="basic")

    page, _ = exporter.from_notebook_node(render(Trajectory(header=HEADER, steps=(step,))))

    body = page.lower()
    for word in set(ACTIVE) - {"href"}:
        assert word not in body
    assert 'src="http' not in body
