"""Draw the charts of a group of tasks from a comparison of agents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kernel_env.ratings.comparison import Group
from kernel_env.ratings.rows import Row as AgentRow
from kernel_env.report import charts
from kernel_env.report.charts import Chart
from kernel_env.report.headline import LIKE_THESE, THESE, Scope, range_text, shown
from kernel_env.report.tables import NONE, percent

COSTS = {"money": "US dollars", "tokens": "tokens", "seconds": "seconds"}
"""What an episode can cost; the first one that any agent has is drawn."""


def group_charts(
    group: Group, scope: Scope, curve: Sequence[Mapping[str, Any]], prefix: str
) -> list[Chart]:
    """Draw the charts of a group of tasks.

    Args:
        group: the agents on these tasks.
        scope: what all groups have in common.
        curve: the points of the curves, `agent`, `x` and `y`.
        prefix: begins the IDs of the drawings.
    """
    found = [
        measure_chart(group, scope, f"{prefix}a"),
        curve_chart(group, scope, curve, f"{prefix}b"),
        cost_chart(group, scope, f"{prefix}c"),
        rating_chart(group, scope, f"{prefix}d"),
        mix_chart(group, f"{prefix}e"),
        failure_chart(group, f"{prefix}f"),
    ]
    return [chart for chart in found if chart is not None]


def there(group: Group, scope: Scope) -> list[str]:
    """Return the agents of a group that have episodes."""
    own = {row.agent for row in group.rows if row.attempts}
    return [agent for agent in scope.agents if agent in own]


def measure_chart(group: Group, scope: Scope, prefix: str) -> Chart | None:
    """Draw the measure of each agent with both intervals."""
    values, rows = [], []
    for row in group.rows:
        found = row.estimates.get(scope.comparison.measure)
        if found is None:
            continue
        like, these = found.on_tasks_like_these, found.on_these_tasks
        value: dict[str, Any] = {"agent": row.agent, "value": found.mean}
        value |= {"low": like.low, "high": like.high} if like else {}
        value |= {"low_here": these.low, "high_here": these.high} if these else {}
        values.append(value)
        texts = [range_text(each, is_share=scope.is_share) for each in (these, like)]
        rows.append([row.agent, shown(found.mean, is_share=scope.is_share), *texts])
    if not values:
        return None
    title = f"{scope.measure} with its two intervals"
    return Chart(
        title=title,
        note=f"Wide band: 95 % {THESE} (other seeds). Line: 95 % {LIKE_THESE} (other tasks).",
        columns=["agent", scope.measure, THESE, LIKE_THESE],
        rows=rows,
        svg=charts.draw(
            charts.intervals(rated(values), values, scope.measure, colours=scope.agents),
            title,
            prefix,
        ),
    )


def rated(values: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the agents of some values, each once."""
    return list(dict.fromkeys(value["agent"] for value in values))


def rating_chart(group: Group, scope: Scope, prefix: str) -> Chart | None:
    """Draw the ratings."""
    values, rows = [], []
    for row in group.rows:
        rating = row.rating
        if rating is None or not rating.meetings:
            continue
        value: dict[str, Any] = {"agent": row.agent, "value": rating.rating}
        if rating.interval:
            value |= {"low": rating.interval.low, "high": rating.interval.high}
        values.append(value)
        interval = rating.interval
        text = f"{interval.low:.0f} – {interval.high:.0f}" if interval else NONE
        rows.append([row.agent, f"{rating.rating:.0f}", text])
    if len(values) < 2:
        return None
    anchor = scope.comparison.anchor
    return Chart(
        title="Elo",
        note=f"Bradley–Terry over pairs of seeds on each task; 1000 is"
        f" {anchor or 'the mean'}. Line: 95 % {LIKE_THESE}.",
        columns=["agent", "Elo", "95 % interval"],
        rows=rows,
        svg=charts.draw(
            charts.intervals(rated(values), values, "Elo", zero=False, colours=scope.agents),
            "Elo of each agent with its interval",
            prefix,
        ),
    )


def curve_chart(
    group: Group, scope: Scope, curve: Sequence[Mapping[str, Any]], prefix: str
) -> Chart | None:
    """Draw the best position so far over steps."""
    agents = there(group, scope)
    points = [point for point in curve if point["agent"] in agents]
    if not any(point["y"] for point in points):
        return None
    last = max(point["x"] for point in points)
    marks = sorted(
        {min((p["x"] for p in points), key=lambda x: abs(x - last * n / 4)) for n in range(5)}
    )
    at = {(point["agent"], point["x"]): point["y"] for point in points}
    drawn = rated(points)
    return Chart(
        title="Best position so far",
        note="Mean over tasks of the best public position after each step, held to the end.",
        columns=["agent", *(f"step {mark}" for mark in marks)],
        rows=[[agent, *(percent(at[agent, mark]) for mark in marks)] for agent in drawn],
        svg=charts.draw(
            charts.curves(drawn, points, "step", "position", colours=scope.agents),
            "Best public position of each agent over steps",
            prefix,
        ),
    )


def cost_chart(group: Group, scope: Scope, prefix: str) -> Chart | None:
    """Draw the measure over what an episode costs, with the Pareto front."""
    measure = scope.comparison.measure
    there = [row for row in group.rows if measure in row.estimates]
    known = (cost for cost in COSTS if any(cost_of(row, cost) for row in there))
    if len(there) < 2 or (cost := next(known, None)) is None:
        return None
    found = [
        (row.agent, row.estimates[cost].mean, row.estimates[measure].mean)
        for row in there
        if cost in row.estimates
    ]
    unit = COSTS[cost]
    front = group.fronts.get(cost, ())
    values = [{"agent": a, "x": x, "y": y, "front": a in front} for a, x, y in found]
    return Chart(
        title="Cost against score",
        note="The dashed line joins the rated agents that no other one beats for less.",
        columns=["agent", unit, scope.measure, "on the front"],
        rows=[
            [a, f"{x:,.6g}", shown(y, is_share=scope.is_share), "yes" if a in front else "no"]
            for a, x, y in found
        ],
        svg=charts.draw(
            charts.cost_and_score(
                rated(values), values, f"{unit} per episode", scope.measure, colours=scope.agents
            ),
            "Score of each agent over its cost",
            prefix,
        ),
    )


def cost_of(row: AgentRow, cost: str) -> float:
    """Return what an episode of an agent costs; 0 if it is not known."""
    return row.estimates[cost].mean if cost in row.estimates else 0.0


def mix_chart(group: Group, prefix: str) -> Chart | None:
    """Draw the shares of the kinds of actions."""
    values, rows = [], []
    kinds = list(charts.KINDS)
    for row in group.rows:
        mix = {kind: row.behaviour.mix[kind].macro for kind in kinds if kind in row.behaviour.mix}
        if any(mix.values()):
            values += [
                {"agent": row.agent, "kind": kind, "share": mix.get(kind) or 0.0, "order": n}
                for n, kind in enumerate(kinds)
            ]
            rows.append([row.agent, *(percent(mix.get(kind) or 0.0) for kind in kinds)])
    if not values:
        return None
    return Chart(
        title="Action mix",
        note="Share of each kind of action in all steps, mean of episodes.",
        columns=["agent", *kinds],
        rows=rows,
        svg=charts.draw(
            charts.shares(rated(values), values, "share of steps"),
            "Shares of the kinds of actions of each agent",
            prefix,
        ),
    )


def failure_chart(group: Group, prefix: str) -> Chart | None:
    """Draw the failure rates."""
    kinds = {
        "validations": "validations_failed",
        "executions": "executions_failed",
        "submissions": "refused",
    }
    values, rows = [], []
    for row in group.rows:
        found = {kind: getattr(row.behaviour, name) for kind, name in kinds.items()}
        for kind, rate in found.items():
            if rate.macro is not None:
                values.append({"agent": row.agent, "kind": kind, "rate": rate.macro})
        texts = [
            NONE if r.macro is None else f"{percent(r.macro)} ({r.events} of {r.of})"
            for r in found.values()
        ]
        rows.append([row.agent, *texts])
    if not values:
        return None
    return Chart(
        title="Failure rates",
        note="Cells that ended in an error, a time-out or a crash, and submissions that were"
        " rejected; mean of episodes.",
        columns=["agent", *kinds],
        rows=rows,
        svg=charts.draw(
            charts.rates(rated(values), values, "share that failed"),
            "Failure rates of each agent",
            prefix,
        ),
    )
