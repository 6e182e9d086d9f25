r"""Write the table of a paper: agents by domains, in Markdown or LaTeX.

The form is that of MLE-Dojo's tables (https://arxiv.org/abs/2505.07782): HumanRank and Elo for
each domain, failure rates of validation and execution, the shares of the kinds of actions, and the
length of what the model writes. Where not all agents have a HumanRank, the position is shown.
"""

import re
from collections.abc import Callable, Sequence

from kernel_env.ratings.behaviour import KINDS
from kernel_env.ratings.comparison import Comparison, Group
from kernel_env.ratings.rows import Row
from kernel_env.ratings.tables import NONE, cell, markdown_table
from kernel_env.untrusted_text import escape_line, harmless

ACTIONS = {
    "request_info": "info",
    "validate_code": "validate",
    "execute_code": "execute",
    "get_history": "history",
    "reset": "reset",
}
"""Kinds of actions, as the columns name them."""
TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "…": r"\ldots{}",
}
"""What stands for a character that means something to LaTeX."""

Table = list[tuple[str, Callable[[str], str]]]
"""Columns: a title, and what an agent has there."""


def tex(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    return re.sub("|".join(map(re.escape, TEX)), lambda found: TEX[found[0]], escape_line(text))


def place_measure(comparison: Comparison) -> str:
    """Return the measure of places: `human_rank` if all rated agents have it on all tasks."""
    rows = [row for row in comparison.overall.rows if row.rated]
    tasks = len(comparison.overall.tasks)
    humans = all(
        "human_rank" in row.estimates and row.estimates["human_rank"].of == tasks for row in rows
    )
    return "human_rank" if rows and humans else "position"


def columns_of(comparison: Comparison) -> Table:
    """Return the columns of the table."""
    measure = place_measure(comparison)
    name = "HumanRank (%)" if measure == "human_rank" else "Position (%)"
    groups = [*(comparison.domains if len(comparison.domains) > 1 else ()), comparison.overall]
    table: Table = []
    for group in groups:
        table.append((f"{group.name} {name}", place_of(group, measure)))
        if any(row.rating for row in group.rows):
            table.append((f"{group.name} Elo", elo_of(group)))
    rows = {row.agent: row for row in comparison.overall.rows}

    def shown(value: Callable[[Row], float | None]) -> Callable[[str], str]:
        return lambda agent: percent(value(rows[agent]))

    table += [
        ("validations failed (%)", shown(lambda row: row.behaviour.validations_failed.macro)),
        ("executions failed (%)", shown(lambda row: row.behaviour.executions_failed.macro)),
    ]
    table += [(f"{ACTIONS[kind]} (%)", shown(mix_of(kind))) for kind in KINDS]
    return [*table, ("tokens per step", lambda agent: length_of(rows[agent]))]


def place_of(group: Group, measure: str) -> Callable[[str], str]:
    """Return the column of a group's places, with the interval on tasks like these."""
    rows = {row.agent: row for row in group.rows}

    def shown(agent: str) -> str:
        found = rows[agent].estimates.get(measure)
        if found is None:
            return NONE
        like = found.on_tasks_like_these
        inner = f" ({100 * like.low:.1f} … {100 * like.high:.1f})" if like else ""
        return f"{100 * found.mean:.1f}{inner}"

    return shown


def elo_of(group: Group) -> Callable[[str], str]:
    """Return the column of a group's ratings."""
    ratings = {row.agent: row.rating for row in group.rows}

    def shown(agent: str) -> str:
        found = ratings[agent]
        return f"{found.rating:.0f}" if found and found.meetings else NONE

    return shown


def mix_of(kind: str) -> Callable[[Row], float | None]:
    """Return what computes the share of a kind of action."""
    return lambda row: row.behaviour.mix[kind].macro


def percent(value: float | None) -> str:
    """Return a share in per cent, without the sign."""
    return NONE if value is None else f"{100 * value:.1f}"


def length_of(row: Row) -> str:
    """Return the mean number of tokens that the model writes in a step."""
    found = row.estimates.get("answer_length")
    return NONE if found is None else f"{found.mean:.0f}"


def paper_markdown(comparison: Comparison) -> str:
    """Write the table as Markdown."""
    columns = columns_of(comparison)
    table = markdown_table(
        ["agent", *(cell(title) for title, _ in columns)],
        [[cell(agent), *(show(agent) for _, show in columns)] for agent in agents_of(comparison)],
    )
    return f"{table}\n{harmless(comparison.overall.sentence)}\n"


def paper_latex(comparison: Comparison) -> str:
    """Write the table as LaTeX: a `tabular` without packages, and the sentence as a comment."""
    columns = columns_of(comparison)
    lines = [["agent", *(title for title, _ in columns)]]
    lines += [[agent, *(show(agent) for _, show in columns)] for agent in agents_of(comparison)]
    head, *body = (" & ".join(map(tex, line)) + r" \\" for line in lines)
    return "\n".join(
        [
            f"% {escape_line(comparison.overall.sentence)}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\hline",
            head,
            r"\hline",
            *body,
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )


def agents_of(comparison: Comparison) -> Sequence[str]:
    """Return the agents in the order of the headline."""
    return [row.agent for row in comparison.overall.rows]
