"""Write a comparison as Markdown, CSV or JSON.

Names come from records, and are made harmless for each format.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence

from kernel_env.ratings.comparison import Comparison, Group
from kernel_env.ratings.elo import Rating
from kernel_env.ratings.estimates import Estimate
from kernel_env.ratings.intervals import Interval
from kernel_env.ratings.measures import MEASURES
from kernel_env.ratings.pairs import Pair
from kernel_env.ratings.rows import Row
from kernel_env.untrusted_text import escape_line, harmless

NONE = "–"
"""What a table shows for a number that does not exist."""
SHOWN = ("human_rank", "normalised", "vs_baseline", "medal", "success", "aup", "progress")
"""Measures that the headline shows besides the one compared by, where any agent has them."""
NOTE = (
    "± is the 95 % interval on these tasks: seeds of the agent vary, tasks and splits do not."
    " In parentheses is that on tasks like these."
)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals."""
    return NONE if value is None else f"{value:.{digits}f}"


def span(interval: Interval | None, digits: int = 3) -> str:
    """Return an interval as its two ends."""
    if interval is None:
        return NONE
    return f"{interval.low:.{digits}f} … {interval.high:.{digits}f}"


def estimate_text(found: Estimate | None) -> str:
    """Return an estimate with both intervals, such as `0.512 ± 0.020 (0.401 … 0.623)`."""
    if found is None:
        return NONE
    text, these = number(found.mean), found.on_these_tasks
    if these is not None:
        text += f" ± {(these.high - these.low) / 2:.3f}"
    return f"{text} ({span(found.on_tasks_like_these)})" if found.on_tasks_like_these else text


def rating_text(found: Rating | None) -> str:
    """Return a rating with its interval, such as `1120 (1033 … 1211)`."""
    if found is None:
        return NONE
    if not found.meetings:
        return "no comparisons"
    inner = f" ({span(found.interval, 0)})" if found.interval else ""
    return f"{found.rating:.0f}{inner}"


def ranks_text(found: Rating | None) -> str:
    """Return the range of ranks."""
    if found is None or found.ranks is None:
        return NONE
    best, worst = found.ranks
    return f"{best}" if best == worst else f"{best}–{worst}"


def tasks_text(found: Estimate | None) -> str:
    """Return how many tasks are in an estimate, and of how many."""
    return NONE if found is None else f"{found.tasks} of {found.of}"


Column = tuple[str, Callable[[Row], str]]


def columns_of(comparison: Comparison, group: Group) -> list[Column]:
    """Return the columns of the headline: titles, and what each shows of a row."""
    measure = comparison.measure
    there = {name for row in group.rows for name in row.estimates}
    others = [name for name in SHOWN if name in there and name != measure]

    def mean_of(name: str) -> Callable[[Row], str]:
        return lambda row: number(row.estimates[name].mean if name in row.estimates else None)

    return [
        (MEASURES[measure].title, lambda row: estimate_text(row.estimates.get(measure))),
        ("Tasks", lambda row: tasks_text(row.estimates.get(measure))),
        ("Scored, floor, missing", lambda row: f"{row.scored}, {row.floor}, {row.missing}"),
        ("Elo", lambda row: rating_text(row.rating)),
        ("P(first)", lambda row: number(row.rating.first if row.rating else None, 2)),
        ("Ranks", lambda row: ranks_text(row.rating)),
        ("IQM", lambda row: number(row.interquartile_mean)),
        *((MEASURES[name].title, mean_of(name)) for name in others),
        ("Failed cells", lambda row: share_text(row.behaviour.executions_failed.macro)),
        ("Tokens", lambda row: f"{row.total_tokens:,}"),
        ("Dollars", lambda row: f"{row.total_money:.2f}"),
        ("Hours", lambda row: f"{row.total_seconds / 3600:.1f}"),
    ]


def share_text(value: float | None) -> str:
    """Return a share as a percentage."""
    return NONE if value is None else f"{100 * value:.1f} %"


def cell(text: str) -> str:
    """Return a text for a cell of a Markdown table.

    A bar becomes a broken bar: renderers disagree on a bar behind backslashes.
    """
    return str(harmless(text.replace("|", "¦")))


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first column is text, the others are numbers."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown: headline, sentence, pairs and cautions; then the domains."""
    parts = [group_markdown(comparison, comparison.overall, "Overall")]
    if comparison.cautions:
        lines = "".join(f"- {harmless(each)}\n" for each in comparison.cautions)
        parts.append(f"## Cautions\n\n{lines}")
    if len(comparison.domains) > 1:
        parts += [group_markdown(comparison, g, g.name) for g in comparison.domains]
    return "\n".join(parts)


def group_markdown(comparison: Comparison, group: Group, title: str) -> str:
    """Write the section of some tasks."""
    columns = columns_of(comparison, group)
    table = markdown_table(
        ["Agent", *(name for name, _ in columns)],
        [[cell(row.agent), *(show(row) for _, show in columns)] for row in group.rows],
    )
    text = f"## {harmless(title)}\n\n{table}\n{harmless(group.sentence)}\n\n{NOTE}"
    if any(row.rating for row in group.rows):
        text += f" {harmless(anchor_text(comparison))}"
    text += f" Success is a position of at least {comparison.share:g}.\n"
    if group.pairs:
        pairs = [
            [f"{cell(pair.a)} − {cell(pair.b)}", *(show(pair) for _, show in PAIRS)]
            for pair in group.pairs
        ]
        text += f"\n{markdown_table(['Pair', *(name for name, _ in PAIRS)], pairs)}"
    return text


PAIRS: tuple[tuple[str, Callable[[Pair], str]], ...] = (
    ("Tasks", lambda pair: str(pair.tasks)),
    ("Difference", lambda pair: f"{pair.difference:+.3f}"),
    ("95 % interval", lambda pair: span(pair.interval)),
    ("p", lambda pair: number(pair.p)),
    ("Adjusted p", lambda pair: number(pair.p_adjusted)),
    ("P(A > B)", lambda pair: number(pair.won, 2)),
    ("Verdict", lambda pair: pair.verdict),
)


def anchor_text(comparison: Comparison) -> str:
    """Say which rating is 1000."""
    if comparison.anchor:
        return f"Elo 1000 is {escape_line(comparison.anchor)}."
    return "Elo 1000 is the mean of the rated agents."


def as_json(comparison: Comparison) -> str:
    """Write all of a comparison as JSON, with all digits."""
    return json.dumps(comparison.json(), indent=1, allow_nan=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Write the estimates as CSV: a line for each group, agent and measure.

    A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula; such a name gets
    an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = [f"{kind}_{end}" for kind in ("seeds", "tasks", "bounds") for end in ("low", "high")]
    writer.writerow(["group", "agent", "measure", "mean", "tasks", "of_tasks", "episodes", *ends])
    for group in (comparison.overall, *comparison.domains):
        for row in group.rows:
            for name, found in (*row.estimates.items(), *elo_of(row)):
                intervals = (found.on_these_tasks, found.on_tasks_like_these, found.bounds)
                writer.writerow(
                    [
                        plain(group.name),
                        plain(row.agent),
                        name,
                        found.mean,
                        found.tasks,
                        found.of,
                        found.episodes,
                        *(end for each in intervals for end in ends_of(each)),
                    ]
                )
    return out.getvalue()


def elo_of(row: Row) -> list[tuple[str, Estimate]]:
    """Return a row's rating in the form of an estimate, if it has one."""
    if row.rating is None or not row.rating.meetings:
        return []
    measured = [found for found in row.estimates.values() if found.of]
    found = Estimate(
        mean=row.rating.rating,
        tasks=max((each.tasks for each in measured), default=0),
        of=max((each.of for each in measured), default=0),
        episodes=row.scored + row.floor,
        on_these_tasks=None,
        on_tasks_like_these=row.rating.interval,
        bounds=None,
    )
    return [("elo", found)]


def ends_of(interval: Interval | None) -> tuple[float | str, float | str]:
    """Return both ends of an interval; empty cells without one."""
    return ("", "") if interval is None else (interval.low, interval.high)


def plain(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula, on one line."""
    line = escape_line(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
