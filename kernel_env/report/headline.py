"""Show a comparison of agents: the headline table and the pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel_env.ratings.comparison import Comparison, Group
from kernel_env.ratings.estimates import Estimate
from kernel_env.ratings.intervals import Interval
from kernel_env.ratings.measures import MEASURES
from kernel_env.ratings.rows import Row as AgentRow
from kernel_env.report import charts, tables
from kernel_env.report.tables import NONE, Cell, Column, Table, named, percent

THESE, LIKE_THESE = "on these tasks", "on tasks like these"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the tables and charts of all groups have in common."""

    comparison: Comparison
    agents: Sequence[str]
    """All agents, in the order of the headline; each has its colour by its place."""

    def colour(self, agent: str) -> str:
        """Return the colour of an agent."""
        return charts.COLOURS[self.agents.index(agent) % len(charts.COLOURS)]

    @property
    def measure(self) -> str:
        """Return the title of the measure that agents are compared by."""
        return MEASURES[self.comparison.measure].title

    @property
    def is_share(self) -> bool:
        """Return whether that measure is from 0 to 1."""
        return MEASURES[self.comparison.measure].unit


def shown(value: float, *, is_share: bool) -> str:
    """Return a value of a measure as text."""
    return percent(value) if is_share else f"{value:.4g}"


def range_text(interval: Interval | None, *, is_share: bool = True) -> str:
    """Return an interval as text."""
    if interval is None:
        return NONE
    if is_share:
        return f"{100 * interval.low:.1f} – {100 * interval.high:.1f} %"
    return f"{interval.low:.4g} – {interval.high:.4g}"


FURTHER = ("human_rank", "medal", "success")
"""Measures in the headline beside the one that agents are compared by."""

# ── the headline ──────────────────────────────────────────────────────────────────────────

Make = Callable[[AgentRow], Cell]


def headline(group: Group, scope: Scope) -> Table:
    """Return the table of agents: the measure with its intervals, ratings, failures, cost."""
    measure = scope.comparison.measure
    columns: list[tuple[Column, Make]] = [
        (Column(title="agent", number=False), lambda row: agent_cell(row, scope)),
        (Column(title=scope.measure), lambda row: mean_cell(row, measure)),
        (Column(title="95 % interval", hint=THESE), lambda row: interval_cell(row, measure, True)),
        (
            Column(title="95 % interval", hint=LIKE_THESE),
            lambda row: interval_cell(row, measure, False),
        ),
        (Column(title="n", hint="episodes on tasks"), lambda row: n_cell(row, measure)),
        (Column(title="missing", hint="bounds"), lambda row: missing_cell(row, measure)),
    ]
    if any(row.rating for row in group.rows):
        columns += [
            (Column(title="Elo", hint="95 %"), rating_cell),
            (Column(title="P(first)"), first_cell),
            (Column(title="ranks", hint="95 %"), ranks_cell),
        ]
    for name in FURTHER:
        if name != measure and any(name in row.estimates for row in group.rows):
            columns.append((Column(title=MEASURES[name].title), estimate_maker(name)))
    columns += [
        (Column(title="failed", hint="executions"), failed_maker("executions_failed")),
        (Column(title="failed", hint="validations"), failed_maker("validations_failed")),
        (Column(title="cost", hint="per episode"), money_cell),
        (Column(title="tokens", hint="per episode"), tokens_cell),
        (Column(title="time", hint="per episode"), seconds_cell),
    ]
    return Table(
        columns=[column for column, _ in columns],
        rows=[[make(row) for _, make in columns] for row in group.rows],
    )


def measures(group: Group) -> Table:
    """Return the table of all measures, each with its interval on tasks like these."""
    rows = group.rows
    names = [name for name in MEASURES if any(name in row.estimates for row in rows)]
    columns = [Column(title="measure", number=False), *(Column(title=row.agent) for row in rows)]
    return Table(
        columns=columns,
        rows=[
            [Cell(text=MEASURES[name].title), *(estimate_maker(name)(row) for row in rows)]
            for name in names
        ],
    )


def agent_cell(row: AgentRow, scope: Scope) -> Cell:
    """Return the name of an agent."""
    note = "" if row.rated else "not rated"
    return named(row.agent, swatch=scope.colour(row.agent), second=note)


def mean_cell(row: AgentRow, measure: str) -> Cell:
    """Return an agent's mean, with that over first attempts if others were needed."""
    found = row.estimates.get(measure)
    if found is None:
        return tables.number(None)
    text = shown(found.mean, is_share=MEASURES[measure].unit)
    return tables.number(found.mean, text, look="main")


def interval_cell(row: AgentRow, measure: str, on_these: bool) -> Cell:
    """Return one of the two intervals of an agent's mean."""
    found = row.estimates.get(measure)
    interval = found and (found.on_these_tasks if on_these else found.on_tasks_like_these)
    if not interval:
        return tables.number(None, hint="it takes two seeds" if on_these else "it takes two tasks")
    width = interval.high - interval.low
    return tables.number(width, range_text(interval, is_share=MEASURES[measure].unit))


def n_cell(row: AgentRow, measure: str) -> Cell:
    """Return how many episodes are behind a mean."""
    found = row.estimates.get(measure)
    if found is None:
        return tables.number(None)
    second = f"{row.floor} without a score" if row.floor else ""
    return tables.number(found.episodes, f"{found.episodes} on {found.tasks}", second=second)


def missing_cell(row: AgentRow, measure: str) -> Cell:
    """Return how many episodes of an agent are missing, and where its mean could be with them."""
    found = row.estimates.get(measure)
    second = range_text(found.bounds) if found and found.bounds else ""
    return tables.count(row.missing, second=second)


def rating_cell(row: AgentRow) -> Cell:
    """Return an agent's rating with its interval."""
    rating = row.rating
    if rating is None:
        return tables.number(None)
    if not rating.meetings:
        return tables.number(None, hint="no comparisons")
    interval = rating.interval
    second = f"{interval.low:.0f} – {interval.high:.0f}" if interval else ""
    return tables.number(rating.rating, f"{rating.rating:.0f}", second=second)


def first_cell(row: AgentRow) -> Cell:
    """Return the probability that an agent is the first."""
    return tables.share(row.rating.first if row.rating and row.rating.meetings else None)


def ranks_cell(row: AgentRow) -> Cell:
    """Return the range of an agent's ranks."""
    if row.rating is None or row.rating.ranks is None or not row.rating.meetings:
        return tables.number(None)
    low, high = row.rating.ranks
    return tables.number(low, f"{low}" if low == high else f"{low} – {high}")


def estimate_maker(name: str) -> Make:
    """Return what makes the cell of a measure with its interval over tasks."""

    def make(row: AgentRow) -> Cell:
        found: Estimate | None = row.estimates.get(name)
        if found is None:
            return tables.number(None)
        unit = MEASURES[name].unit
        interval = found.on_tasks_like_these
        second = range_text(interval, is_share=unit) if interval else ""
        return tables.number(found.mean, shown(found.mean, is_share=unit), second=second)

    return make


def failed_maker(name: str) -> Make:
    """Return what makes the cell of a failure rate: mean of episodes, and pooled below."""

    def make(row: AgentRow) -> Cell:
        rate = getattr(row.behaviour, name)
        second = "" if rate.pooled is None else f"pooled {percent(rate.pooled)}"
        return tables.share(rate.macro, second=second)

    return make


def per_episode(row: AgentRow, total: float) -> float | None:
    """Return a cost per episode of an agent."""
    return total / row.attempts if row.attempts else None


def money_cell(row: AgentRow) -> Cell:
    """Return what an episode of an agent costs."""
    return tables.dollars(per_episode(row, row.total_money))


def tokens_cell(row: AgentRow) -> Cell:
    """Return how many tokens an episode of an agent takes."""
    return tables.count(per_episode(row, row.total_tokens))


def seconds_cell(row: AgentRow) -> Cell:
    """Return how long an episode of an agent takes."""
    return tables.duration(per_episode(row, row.total_seconds))


def pair_table(group: Group, scope: Scope) -> Table:
    """Return the table of paired differences."""
    verdicts = {"differs": "more than noise", "noise": "can be noise"}
    titles = [
        *(Column(title=title, number=False) for title in ("agent", "other agent")),
        Column(title="difference", hint=f"of {scope.measure.lower()}"),
        Column(title="95 % interval", hint=LIKE_THESE),
        Column(title="P(wins)", hint="against the other"),
        Column(title="p", hint="sign flips"),
        Column(title="p", hint="Holm"),
        Column(title="tasks", hint="in common"),
        Column(title="verdict", number=False),
    ]

    rows = [
        [
            named(pair.a, swatch=scope.colour(pair.a)),
            named(pair.b, swatch=scope.colour(pair.b)),
            tables.number(
                pair.difference, signed(pair.difference, is_share=scope.is_share), look="main"
            ),
            tables.number(
                pair.interval.low if pair.interval else None,
                range_of(pair.interval, is_share=scope.is_share),
            ),
            tables.share(pair.won),
            tables.number(pair.p, probability(pair.p)),
            tables.number(pair.p_adjusted, probability(pair.p_adjusted)),
            tables.count(pair.tasks),
            named(verdicts.get(pair.verdict, pair.verdict)),
        ]
        for pair in group.pairs
    ]
    return Table(columns=titles, rows=rows)


PAIRS_NOTE = (
    "Each two rated agents on the tasks that both have: the mean difference over tasks (of shares"
    " in points of per cent), its interval, the share of pairs of seeds that the first one wins,"
    " and the probability of such a difference by chance."
)


def probability(value: float) -> str:
    """Return a p-value as text."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def signed(value: float, *, is_share: bool) -> str:
    """Return a difference with its sign, of shares in points of per cent."""
    return f"{100 * value:+.1f}" if is_share else f"{value:+.4g}"


def range_of(interval: Interval | None, *, is_share: bool) -> str:
    """Return the interval of a difference."""
    if interval is None:
        return NONE
    low, high = (signed(each, is_share=is_share) for each in (interval.low, interval.high))
    return f"{low} to {high}"


def note_of(comparison: Comparison) -> str:
    """Return how the headline table is to be read, in a sentence or two."""
    anchor = comparison.anchor or "the mean of the rated agents"
    rated = any(row.rating for row in comparison.overall.rows)
    return (
        "The mean over tasks of the mean over seeds; each task has the same weight."
        + (f" Elo 1000 is {anchor}." if rated else "")
        + f" Success: a position of at least {percent(comparison.share)}."
    )
