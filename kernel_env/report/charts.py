"""Draw the charts of a report as SVG, without a program in the page.

Each chart has a text that says what it shows, and the page has its numbers as a table below it.
Needs the extra `report` (vl-convert, which compiles Vega-Lite).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import Any

from kernel_env.report.inert_svg import inert_svg
from kernel_env.untrusted_text import escape_line

COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f6d00", "#6a3d9a"),
    *("#b15928", "#4d4d4d"),
)
"""The colours of agents: those of Okabe and Ito, for the colour-blind too, and some more."""
KINDS = {
    "execute_code": "#0072b2",
    "validate_code": "#56b4e9",
    "request_info": "#e69f00",
    "get_history": "#cc79a7",
    "reset": "#4d4d4d",
}
"""The colours of kinds of actions."""
WIDTH, ROW, HEIGHT = 540, 26, 240
"""The width of a whole drawing, the height of a row of it, and of one without rows, pixels."""
MAX_CHARACTERS = 60
"""Longer texts of a drawing can be cut."""
VEGA_LITE = "6.1"
CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "autosize": {"type": "fit-x", "contains": "padding"},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 170,
        "gridColor": "#e4e7eb",
        "domainColor": "#8c959f",
        "tickColor": "#8c959f",
        "labelColor": "#57606a",
        "titleColor": "#57606a",
    },
    "axisQuantitative": {"tickCount": 6},
    "legend": {
        "labelFontSize": 11,
        "orient": "bottom",
        "title": None,
        "columns": 2,
        "columnPadding": 40,
        "labelLimit": 170,
        "labelColor": "#57606a",
    },
}
Values = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: a drawing, or only its numbers if none can be drawn."""

    title: str
    note: str
    """What it shows and how to read it."""
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    """The numbers, for a table."""
    svg: str = ""
    """The drawing as HTML; empty without the extra `report`."""


def can_draw() -> bool:
    """Return whether the extra that draws is installed."""
    return find_spec("vl_convert") is not None


def draw(spec: Spec, description: str, prefix: str) -> str:
    """Return the drawing of a Vega-Lite specification; empty without the extra `report`.

    Args:
        spec: the specification, with its data.
        description: what a screen reader says.
        prefix: begins the IDs of the drawing's parts.
    """
    if not can_draw():
        return ""
    import vl_convert

    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": CONFIG,
        "description": description,
        **spec,
    }
    drawing = vl_convert.vegalite_to_svg(harmless(whole), vl_version=VEGA_LITE)
    svg = inert_svg(drawing, prefix)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)


def harmless(value: Any) -> Any:
    """Return a specification whose texts have no invisible characters.

    Names of agents become parts of expressions, in which some of these characters are errors.
    """
    if isinstance(value, str):
        return escape_line(value, MAX_CHARACTERS)
    if isinstance(value, Mapping):
        return {name: harmless(each) for name, each in value.items()}
    return [harmless(each) for each in value] if isinstance(value, list) else value


def scale_of(agents: Sequence[str], every: Sequence[str]) -> Spec:
    """Return the scale that gives each agent its colour, by its place among all agents."""
    places = {agent: n % len(COLOURS) for n, agent in enumerate(every)}
    return {"domain": list(agents), "range": [COLOURS[places[agent]] for agent in agents]}


def agent_axis(agents: Sequence[str]) -> Spec:
    """Return the vertical axis with one row per agent."""
    return {"field": "agent", "type": "nominal", "sort": list(agents), "title": None}


def rows_height(agents: Sequence[str], per_agent: int = 1) -> int:
    """Return the height of a drawing with rows of agents."""
    return ROW * per_agent * max(1, len(agents))


def intervals(
    agents: Sequence[str],
    values: Values,
    title: str,
    *,
    colours: Sequence[str],
    zero: bool = True,
) -> Spec:
    """Return a chart of a number per agent with its two intervals.

    Args:
        agents: in the order of the rows.
        values: each has `agent`, `value` and, where they are known, `low` and `high` (on tasks like
            these), `low_here` and `high_here` (on these tasks).
        title: of the horizontal axis.
        colours: all agents, which have their colours by their places.
        zero: whether the axis begins at 0.
    """
    scale: Spec = {"zero": zero, "nice": True}
    y = agent_axis(agents)
    x = {"field": "value", "type": "quantitative", "title": title, "scale": scale}

    def rule(low: str, high: str, width: float, opacity: float) -> Spec:
        return {
            "transform": [{"filter": f"isValid(datum.{low})"}],
            "mark": {"type": "rule", "strokeWidth": width, "opacity": opacity},
            "encoding": {
                "y": y,
                "x": {**x, "field": low},
                "x2": {"field": high},
                "color": colour(agents, colours),
            },
        }

    return {
        "width": WIDTH,
        "height": rows_height(agents),
        "data": {"values": list(values)},
        "layer": [
            rule("low", "high", 1.5, 0.9),
            rule("low_here", "high_here", 6, 0.35),
            {
                "transform": [{"filter": "isValid(datum.value)"}],
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"y": y, "x": x, "color": colour(agents, colours)},
            },
        ],
    }


def colour(agents: Sequence[str], every: Sequence[str], *, legend: bool = False) -> Spec:
    """Return the colour channel of agents."""
    channel: Spec = {"field": "agent", "type": "nominal", "scale": scale_of(agents, every)}
    return channel if legend else {**channel, "legend": None}


def curves(
    agents: Sequence[str],
    values: Values,
    x_title: str,
    y_title: str,
    *,
    colours: Sequence[str],
) -> Spec:
    """Return lines of steps: each value has `agent`, `x` and `y`."""
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": list(values)},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": x_title},
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": y_title,
                "scale": {"domainMin": 0, "nice": True},
            },
            "color": colour(agents, colours, legend=True),
        },
    }


def cost_and_score(
    agents: Sequence[str],
    values: Values,
    x_title: str,
    y_title: str,
    *,
    colours: Sequence[str],
) -> Spec:
    """Return points with the Pareto front: each value has `agent`, `x`, `y` and `front`."""
    x = {"field": "x", "type": "quantitative", "title": x_title}
    y = {
        "field": "y",
        "type": "quantitative",
        "title": y_title,
        "scale": {"domainMin": 0, "nice": True},
    }
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": list(values)},
        "layer": [
            {
                "transform": [{"filter": "datum.front"}],
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "strokeDash": [4, 3],
                    "stroke": "#8c959f",
                },
                "encoding": {"x": x, "y": y, "order": {"field": "x"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour(agents, colours, legend=True)},
            },
        ],
    }


def shares(agents: Sequence[str], values: Values, title: str) -> Spec:
    """Return bars of shares that add up to one: each value has `agent`, `kind` and `share`."""
    return {
        "width": WIDTH,
        "height": rows_height(agents),
        "data": {"values": list(values)},
        "mark": {"type": "bar", "height": 16},
        "encoding": {
            "y": agent_axis(agents),
            "x": {
                "field": "share",
                "type": "quantitative",
                "title": title,
                "axis": {"format": "%"},
                "stack": "zero",
                "scale": {"domain": [0, 1]},
            },
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": list(KINDS), "range": list(KINDS.values())},
            },
            "order": {"field": "order"},
        },
    }


def rates(agents: Sequence[str], values: Values, title: str) -> Spec:
    """Return grouped bars: each value has `agent`, `kind` and `rate`."""
    kinds = list(dict.fromkeys(value["kind"] for value in values))
    return {
        "width": WIDTH,
        "height": rows_height(agents, 2),
        "data": {"values": list(values)},
        "mark": {"type": "bar"},
        "encoding": {
            "y": agent_axis(agents),
            "yOffset": {"field": "kind", "sort": kinds},
            "x": {
                "field": "rate",
                "type": "quantitative",
                "title": title,
                "axis": {"format": "%"},
                "scale": {"domainMin": 0},
            },
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": kinds, "range": ["#56b4e9", "#d55e00", "#7f6d00"]},
            },
        },
    }
