"""Compute the parts of a report that records give by themselves: tasks, failures, settings, curves.

The ratings are in `headline`; they come from `kernel_env.ratings`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from kernel_env.episode.endings import CLASSES, counts
from kernel_env.episode.result import EpisodeResult
from kernel_env.report import tables
from kernel_env.report.episode_rows import Row, place_of, settings_of
from kernel_env.report.tables import NONE, Cell, Column, Table, named, percent
from kernel_env.suite.records import Missing
from kernel_env.untrusted_text import quote_value

DUE_TO = {
    "agent": "the agent",
    "model": "the model's service",
    "setup": "its operator",
    "machine": "the machine",
    "task": "the task",
    "us": "kernel_env",
    "operator": "stopped",
}
"""Whom each class of endings is due to; see `episode.endings`."""
EXAMPLES = 5
"""How many episodes with an exception are linked to."""
SHOWN_ERRORS = 10
POINTS = 60
"""At most so many points of a curve."""

Cells = Mapping[tuple[str, str], Sequence[Row]]
"""Agent and task → their episodes."""


def cells_of(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Sort episodes by agent and task."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.agent, row.result.task), []).append(row)
    return cells


def counted_place(result: EpisodeResult) -> float | None:
    """Return the position of an episode that counts, 0 without a graded submission.

    None of one that does not count, and of a task without a leaderboard.
    """
    if not counts(result.status) or result.parent:
        return None
    place = place_of(result)
    if place is None and result.private_score is None and result.public_score is None:
        return 0.0
    return place


def matrix(cells: Cells, agents: Sequence[str], domains: Mapping[str, str]) -> Table:
    """Return the table of tasks and agents: mean position, coloured, with the number of episodes.

    Args:
        cells: the episodes.
        agents: in the order of the columns.
        domains: task → domain.
    """
    rows = []
    for task in sorted({task for _, task in cells}):
        found = [task_cell(cells.get((agent, task), ()), agent, task) for agent in agents]
        means = [cell.order for cell in found if cell.order is not None and cell.order >= 0]
        spread = max(means) - min(means) if len(means) > 1 else None
        rows.append(
            [
                named(task, link=filter_link(task=task), second=domains.get(task, "")),
                *found,
                tables.share(spread),
            ]
        )
    columns = [Column(title="task", number=False)]
    columns += [Column(title=agent) for agent in agents]
    columns.append(Column(title="spread", hint="best − worst"))
    return Table(columns=columns, rows=rows)


def task_cell(found: Sequence[Row], agent: str, task: str) -> Cell:
    """Return the cell of an agent and a task."""
    places = [place for row in found if (place := counted_place(row.result)) is not None]
    address = filter_link(agent=agent, task=task)
    lost = sum(not counts(row.result.status) for row in found)
    hint = f"{len(found)} episodes" + (f", {lost} of them do not count" if lost else "")
    if places:
        mean = fmean(places)
        return Cell(
            text=percent(mean),
            order=mean,
            second=f"n={len(places)}",
            look=f"heat {tables.heat(mean)}",
            link=address,
            hint=hint,
        )
    scores = [r.result.private_score for r in found if counts(r.result.status)]
    known = [score for score in scores if score is not None]
    if known:
        text = f"{fmean(known):.6g}"
        return Cell(text=text, order=-1, second=f"n={len(known)}", look="heat", link=address)
    return Cell(
        text=NONE,
        order=-2,
        look="heat missing",
        link=address if found else "",
        hint=hint if found else "no episode",
    )


def filter_link(**conditions: str) -> str:
    """Return the address that shows the episodes which meet some conditions."""
    from urllib.parse import quote

    text = " ".join(f'{name}="{value}"' for name, value in conditions.items())
    return f"#filter={quote(text, safe='')}"


# ── failures ──────────────────────────────────────────────────────────────────────────────


def due_to(status: str) -> str:
    """Return whom an ending is due to."""
    return DUE_TO[CLASSES[status]] if status in CLASSES else "unknown"


def endings(rows: Sequence[Row], agents: Sequence[str]) -> Table:
    """Return how many episodes of each agent ended how."""
    by_agent = {agent: Counter[str]() for agent in agents}
    for row in rows:
        by_agent[row.agent][row.result.status] += 1
    there = {status for found in by_agent.values() for status in found}
    statuses = [*(each for each in CLASSES if each in there), *sorted(there - CLASSES.keys())]
    columns = [Column(title="agent", number=False), Column(title="episodes")]
    columns += [Column(title=status, hint=due_to(status)) for status in statuses]
    return Table(
        columns=[*columns, Column(title="do not count")],
        rows=[
            [
                named(agent, link=filter_link(agent=agent)),
                tables.count(found.total()),
                *(tables.count(found[status]) for status in statuses),
                tables.count(sum(n for status, n in found.items() if not counts(status))),
            ]
            for agent, found in by_agent.items()
        ],
    )


def lost_episodes(rows: Sequence[Row]) -> Table:
    """Return the episodes that do not count, with the reasons."""
    names = ("run", "task", "agent", "status", "due to", "attempt", "reason")
    lost = [row for row in rows if not counts(row.result.status)]
    return Table(
        columns=[Column(title=name, number=name == "attempt") for name in names],
        rows=[
            [
                named(row.run, link=row.address()),
                named(row.result.task),
                named(row.agent),
                named(row.result.status, look="bad"),
                named(due_to(row.result.status)),
                tables.count(row.result.attempt),
                named(row.result.error[:300]),
            ]
            for row in lost
        ],
    )


def unplayed(missing: Sequence[Missing]) -> Table:
    """Return the jobs of a suite without a result, with the reasons."""
    return Table(
        columns=[
            Column(title=name, number=name == "seed")
            for name in ("task", "agent", "seed", "reason")
        ],
        rows=[
            [
                named(each.job.task),
                named(each.job.agent),
                tables.count(each.job.seed),
                named(each.reason[:300] or "not played yet"),
            ]
            for each in missing
        ],
    )


def errors(rows: Sequence[Row], agents: Sequence[str]) -> Table:
    """Return the most frequent exceptions of cells, per agent, with links to episodes or steps."""
    times: dict[str, Counter[str]] = {}
    where: dict[str, list[Row]] = {}
    for row in rows:
        for name, n in row.result.errors.items():
            times.setdefault(name, Counter())[row.agent] += n
            where.setdefault(name, []).append(row)
    order = sorted(times, key=lambda name: (-times[name].total(), name))[:SHOWN_ERRORS]
    columns = [Column(title="exception", number=False), Column(title="times")]
    columns += [Column(title=agent) for agent in agents]
    columns += [Column(title=f"example {n}", number=False) for n in range(1, EXAMPLES + 1)]
    found = []
    for name in order:
        examples = [example(row, name) for row in where[name][:EXAMPLES]]
        examples += [Cell(text="")] * (EXAMPLES - len(examples))
        counted = (times[name][agent] for agent in agents)
        total = tables.count(times[name].total())
        found.append([named(name, look="code"), total, *map(tables.count, counted), *examples])
    return Table(columns=columns, rows=found)


def example(row: Row, name: str) -> Cell:
    """Return a link to the step in which an exception occurred, or to the episode."""
    steps = row.page.steps if row.page else ()
    step = next((step.number for step in steps if step.name == name), 0)
    text = f"{row.result.task}, step {step}" if step else row.result.task
    return named(text, link=row.address(step), hint=row.run)


# ── settings ──────────────────────────────────────────────────────────────────────────────

OF_A_TASK = ("task_version", "metric", "source", "image", "image_digest")
"""Settings that differ between tasks in any case."""


def settings(rows: Sequence[Row], agents: Sequence[str]) -> tuple[Table, Table]:
    """Return the settings that differ between agents or episodes, and those that are equal.

    What belongs to a task differs if one task has it in two ways.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}  # setting → agent → values, in order
    tasks: dict[str, dict[str, set[str]]] = {}  # setting of a task → task → values
    for row in rows:
        for name, value in settings_of(row.result).items():
            text = f"{value:,.10g}" if isinstance(value, int | float) else str(value)
            found.setdefault(name, {}).setdefault(row.agent, {})[text] = None
            if name in OF_A_TASK:
                tasks.setdefault(name, {}).setdefault(row.result.task, set()).add(text)
    differs, equal = [], []
    for name, by_agent in found.items():
        values = sorted({text for texts in by_agent.values() for text in texts})
        if name in OF_A_TASK:
            odd = {task: texts for task, texts in tasks[name].items() if len(texts) > 1}
            if not odd:
                text = values[0] if len(values) == 1 else f"one per task ({len(values)} values)"
                equal.append([named(name), named(text)])
                continue
        elif len(values) == 1 and len(by_agent) == len(agents):
            equal.append([named(name), named(values[0])])
            continue
        differs.append(
            [named(name), *(named(listed(sorted(by_agent.get(agent, ())))) for agent in agents)]
        )
    columns = [Column(title="setting", number=False)]
    return (
        Table(columns=[*columns, *(Column(title=a, number=False) for a in agents)], rows=differs),
        Table(columns=[*columns, Column(title="value", number=False)], rows=equal),
    )


def listed(values: Sequence[str]) -> str:
    """Return up to three values as text."""
    shown = ", ".join(values[:3])
    return f"{shown} and {len(values) - 3} more" if len(values) > 3 else shown


# ── curves ────────────────────────────────────────────────────────────────────────────────


def curve_points(cells: Cells, agents: Sequence[str]) -> list[dict[str, float | str]]:
    """Return the mean best public position after each step: mean over tasks of that over seeds.

    The best position is held to the end; before the first graded submission it is 0. Episodes that
    do not count, and tasks without a public leaderboard, are left out.
    """
    last = max((r.result.steps for found in cells.values() for r in found), default=0)
    grid = sorted({round(n * last / POINTS) for n in range(POINTS + 1)})
    points: list[dict[str, float | str]] = []
    for agent in agents:
        tasks = []
        for (name, _), found in sorted(cells.items()):
            kept = [row.result for row in found if counted_place(row.result) is not None]
            if name == agent and kept:
                tasks.append([best_positions(result, grid) for result in kept])
        for at, step in enumerate(grid):
            if tasks:
                mean = fmean(fmean(seed[at] for seed in seeds) for seeds in tasks)
                points.append({"agent": agent, "x": step, "y": round(mean, 6)})
    return points


def best_positions(result: EpisodeResult, grid: Sequence[int]) -> list[float]:
    """Return the best public position so far after each of some steps."""
    found, best, at = [], 0.0, 0
    improvements = [i for i in result.best_by_step if i[0] is not None]
    for step in grid:
        while at < len(improvements) and (improvements[at][0] or 0) <= step:
            best = float(improvements[at][3] or best)
            at += 1
        found.append(best)
    return found


def quoted(names: Iterable[str]) -> str:
    """Return names of others in a sentence."""
    return ", ".join(quote_value(name) for name in names)
