"""Measure an outcome: one number per episode, or None where the task has no such number.

A *cell* is the mean over an agent's seeds on a task. An agent's number is the mean over tasks of
its cells, so that all tasks count the same. Formulas that records already hold (`position`,
`human_rank`, medals) are in `kernel_env.grading`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernel_env.field_docs import show_fields
from kernel_env.ratings.intervals import mean
from kernel_env.ratings.outcomes import Outcome, Outcomes
from kernel_env.ratings.profiles import LIMIT, aup, error_of, ratio

START, SOLUTION = "sample", "baseline"
"""The agents whose scores are 0 and 1 of `vs_baseline`: the sample submission and the task's
`solution.ipynb`."""
TENTH = 0.1
"""MLAgentBench's threshold of success."""
ROUNDING = 1e-9
"""What a sum of decimal fractions can be off by."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class References:
    """Two scores of a task, in the metric's units."""

    start: float | None = None
    """The private score of the sample submission."""
    solution: float | None = None
    """The private score of the task's `solution.ipynb`."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What the measures of a task's outcomes have in common."""

    board: bool
    """Whether it has a leaderboard."""
    humans: bool
    """Whether the leaderboard's entries are human teams."""
    medals: bool
    normalised: bool
    """Whether its leaderboard has a top and a bottom that differ."""
    references: References
    best_error: float | None
    """The smallest error of any episode; None without a natural zero, or without a score."""
    share: float
    """The position from which an episode is a success."""


Value = Callable[[Outcome, TaskFacts], float | None]


@show_fields
@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of outcomes."""

    name: str
    title: str
    value: Value
    unit: bool = True
    """Whether all values are from 0 to 1."""
    yes_or_no: bool = False
    """Whether each value is 0 or 1, so that the mean is a share with Wilson's interval."""


def vs_baseline(score: float | None, start: float, reference: float) -> float | None:
    """Compute RE-Bench's normalised score: 0 at the start or worse, 1 at the reference.

    max(0, (s - start) / (reference - start)); more than 1 beyond the reference. The direction
    follows from the two. Source: https://arxiv.org/abs/2411.15114.

    Args:
        score: None for no result, which earns 0.
        start: the score of a trivial solution.
        reference: the score of a good one.

    Returns:
        None if the two are equal.

    >>> round(vs_baseline(0.8, 2.196, 0.26), 6)
    0.721074
    """
    if start == reference:
        return None
    return 0.0 if score is None else max(0.0, (score - start) / (reference - start))


def relative_gap(tasks: Sequence[tuple[float | None, float, float]]) -> float | None:
    """Compute DSBench's RPG (relative performance gap): the mean of max(0, (p - b) / (g - b)).

    A missing result earns 0 and stays in the denominator; values above 1 are not capped. A task
    whose b and g are equal is left out, where DSBench divides by 0. Source:
    https://arxiv.org/abs/2409.07703.

    Args:
        tasks: (p, b, g) of each task: result, baseline, best known score.

    Returns:
        None if no task is left.
    """
    found = [vs_baseline(score, start, best) for score, start, best in tasks]
    known = [each for each in found if each is not None]
    return mean(known) if known else None


def better_by_tenth(score: float, baseline: float, *, higher_is_better: bool) -> bool | None:
    """Return MLAgentBench's success: more than 10 % better than the baseline, relatively.

    Source: https://arxiv.org/abs/2310.03302.

    Returns:
        None for a baseline of 0, of which there is no share. (MLAgentBench writes other numbers in
        its place.)
    """
    if baseline == 0:
        return None
    gain = (score - baseline) / abs(baseline) * (1 if higher_is_better else -1)
    return gain > TENTH + ROUNDING


def area_under_progress(improvements: Sequence[tuple[float, float]], budget: float) -> float:
    """Compute the mean over a budget of the best value so far.

    The best value is 0 before the first improvement, and is held to the end of the budget, also
    after the episode. A measure of how early an agent is good, as the area under the curve of
    MLE-Dojo's figures over steps.

    Args:
        improvements: (how much of the budget was used before the value held, the value), in order.
            A value that a step earns holds for that step, so its first number is step - 1.
        budget: more than 0; later improvements do not count.
    """
    area, value, since = 0.0, 0.0, 0.0
    for at, better in improvements:
        if at >= budget:
            break
        area += value * (at - since)
        value, since = better, at
    return (area + value * (budget - since)) / budget


def recorded(field: str, needs: Callable[[TaskFacts], bool]) -> Value:
    """Return a measure that is a field of the record; 0 at the floor of a task that has it."""

    def value(outcome: Outcome, facts: TaskFacts) -> float | None:
        found: float | None = getattr(outcome.record, field)
        if outcome.scored:
            return found
        return 0.0 if needs(facts) else None

    return value


def has_board(facts: TaskFacts) -> bool:
    """Return whether positions exist."""
    return facts.board


def position_mean(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return the mean of public and private position, of those that exist."""
    if not outcome.scored:
        return 0.0 if facts.board else None
    both = (outcome.record.position_public, outcome.record.position_private)
    known = [each for each in both if each is not None]
    return mean(known) if known else None


def normalised(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return (s - bottom) / (top - bottom) of the private board, clipped to 0 and 1."""
    if not outcome.scored:
        return 0.0 if facts.normalised else None
    found = outcome.record.normalised_private
    return None if found is None else min(1.0, max(0.0, found))


def against_baseline(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return `vs_baseline` of the private score."""
    start, solution = facts.references.start, facts.references.solution
    if start is None or solution is None:
        return None
    return vs_baseline(outcome.record.private_score, start, solution)


def medal(*kinds: str) -> Value:
    """Return a measure: whether the medal is one of some kinds."""

    def value(outcome: Outcome, facts: TaskFacts) -> float | None:
        if not facts.medals or (outcome.scored and outcome.record.medal is None):
            return None
        return float(outcome.scored and outcome.record.medal in kinds)

    return value


def success(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return whether the position reaches the stated share."""
    position = POSITION(outcome, facts)
    return None if position is None else float(position >= facts.share)


def beats_solution(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return whether the private score is better than that of `solution.ipynb`."""
    solution = facts.references.solution
    if solution is None:
        return None
    sign = 1 if outcome.record.higher_is_better else -1
    return float(outcome.strength > sign * solution)


def beats_start_by_tenth(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return `better_by_tenth` of the sample submission's score."""
    start, score = facts.references.start, outcome.record.private_score
    if not start:
        return None
    if score is None:
        return 0.0
    better = better_by_tenth(score, start, higher_is_better=outcome.record.higher_is_better)
    return None if better is None else float(better)


def area_in_profile(outcome: Outcome, facts: TaskFacts) -> float | None:
    """Return what the episode adds to `aup`."""
    if facts.best_error is None:
        return None
    score = outcome.record.private_score
    error = None if score is None else error_of(outcome.record.metric, score)
    return aup([ratio(error, facts.best_error)], LIMIT)


def progress(axis: str, column: int, held: int) -> Value:
    """Return `area_under_progress` of the public position over an axis of the budget."""

    def value(outcome: Outcome, facts: TaskFacts) -> float | None:
        budget, positions = outcome.record.budget.get(axis), public_positions(outcome)
        if not budget or not facts.board or positions is None:
            return None
        used = [float(row[column] or 0) - held for row in outcome.record.best_by_step]
        return area_under_progress(list(zip(used, positions, strict=True)), budget)

    return value


def public_positions(outcome: Outcome) -> list[float] | None:
    """Return the public position of each improvement; None if they are not known."""
    if outcome.scored and not outcome.record.best_by_step:
        return None
    found = [row[3] for row in outcome.record.best_by_step]
    known = [float(each) for each in found if each is not None]
    return known if len(known) == len(found) else None


def first_graded(outcome: Outcome, _: TaskFacts) -> float | None:
    """Return the step of the first graded submission; None if there is none."""
    rows = outcome.record.best_by_step
    return float(rows[0][0] or 0) if rows else None


def gain_per_submission(outcome: Outcome, _: TaskFacts) -> float | None:
    """Return the gain in public position from the first to the best submission, per later one."""
    positions, graded = public_positions(outcome), outcome.record.submissions
    if graded < 2 or not positions:
        return None
    return (positions[-1] - positions[0]) / (graded - 1)


def per_step(outcome: Outcome, _: TaskFacts) -> float | None:
    """Return the answer tokens of the model per step: the length of what it writes."""
    answer, steps = outcome.record.tokens.get("answer"), outcome.record.steps
    return answer / steps if answer and steps else None


POSITION = recorded("position_private", has_board)

MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="position", title="Position", value=POSITION),
        Measure(
            name="position_public",
            title="Public position",
            value=recorded("position_public", has_board),
        ),
        Measure(name="position_mean", title="Mean position", value=position_mean),
        Measure(
            name="human_rank",
            title="HumanRank",
            value=recorded("human_rank", lambda facts: facts.humans),
        ),
        Measure(name="normalised", title="Normalised", value=normalised),
        Measure(name="vs_baseline", title="Versus baseline", value=against_baseline, unit=False),
        Measure(name="aup", title="AUP", value=area_in_profile),
        Measure(
            name="medal",
            title="Any medal",
            value=medal("gold", "silver", "bronze"),
            yes_or_no=True,
        ),
        Measure(name="gold", title="Gold", value=medal("gold"), yes_or_no=True),
        Measure(name="silver", title="Silver", value=medal("silver"), yes_or_no=True),
        Measure(name="bronze", title="Bronze", value=medal("bronze"), yes_or_no=True),
        Measure(name="success", title="Success", value=success, yes_or_no=True),
        Measure(
            name="beats_solution", title="Beats solution", value=beats_solution, yes_or_no=True
        ),
        Measure(
            name="beats_start_by_tenth",
            title="10 % better than sample",
            value=beats_start_by_tenth,
            yes_or_no=True,
        ),
        Measure(name="progress", title="Progress over steps", value=progress("steps", 0, 1)),
        Measure(
            name="progress_seconds", title="Progress over time", value=progress("seconds", 1, 0)
        ),
        Measure(
            name="progress_money", title="Progress over dollars", value=progress("money", 2, 0)
        ),
        Measure(
            name="gain_per_submission",
            title="Gain per submission",
            value=gain_per_submission,
            unit=False,
        ),
        Measure(name="first_graded", title="First graded step", value=first_graded, unit=False),
        Measure(
            name="steps",
            title="Steps",
            value=lambda outcome, _: float(outcome.record.steps),
            unit=False,
        ),
        Measure(
            name="tokens",
            title="Tokens",
            value=lambda outcome, _: float(outcome.record.usage.tokens),
            unit=False,
        ),
        Measure(name="answer_length", title="Tokens per step", value=per_step, unit=False),
        Measure(
            name="money",
            title="Dollars",
            value=lambda outcome, _: outcome.record.usage.money,
            unit=False,
        ),
        Measure(
            name="seconds",
            title="Seconds",
            value=lambda outcome, _: outcome.record.seconds,
            unit=False,
        ),
    )
}
"""All measures by name, in the order of tables."""
SCORES = ("position", "human_rank", "normalised", "vs_baseline", "aup", "medal", "success")
"""Measures that agents can be compared by."""


def facts_of(
    found: Outcomes, references: Mapping[str, References], share: float
) -> dict[str, TaskFacts]:
    """Return what the outcomes of each task have in common: task → facts.

    Args:
        found: the outcomes.
        references: scores of tasks that no record of `sample` or `baseline` gives.
        share: the position from which an episode is a success.
    """
    by_task: dict[str, list[Outcome]] = {task: [] for task in found.tasks}
    for outcome in found.outcomes:
        by_task[outcome.task].append(outcome)

    def score_of(program: str, outcomes: Sequence[Outcome]) -> float | None:
        scores = [o.record.private_score for o in outcomes if o.record.agent == program]
        known = [score for score in scores if score is not None]
        return mean(known) if known else None

    facts = {}
    for task, outcomes in by_task.items():
        scored = [outcome.record for outcome in outcomes if outcome.scored]
        kinds = {outcome.record.leaderboard_kind for outcome in outcomes}
        given = references.get(task, References())
        start, solution = score_of(START, outcomes), score_of(SOLUTION, outcomes)
        errors = [error_of(record.metric, record.private_score or 0.0) for record in scored]
        known = [error for error in errors if error is not None]
        facts[task] = TaskFacts(
            board=any(r.position_private is not None for r in scored) if scored else kinds != {""},
            humans="human" in kinds,
            medals=any(r.medal is not None for r in scored) if scored else "human" in kinds,
            normalised=any(r.normalised_private is not None for r in scored)
            if scored
            else kinds != {""},
            references=References(
                start=given.start if start is None else start,
                solution=given.solution if solution is None else solution,
            ),
            best_error=min(known, default=None),
            share=share,
        )
    return facts
