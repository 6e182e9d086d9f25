"""Count what an agent did in an episode: actions, failures, and when its best score improved."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from kernel_env.episode.step import CellExecuted, Progress, Step
from kernel_env.field_docs import show_fields
from kernel_env.kernel.cell import Cell

Improvement = Annotated[list[float | int | None], Field(min_length=5, max_length=5)]
"""Step, seconds, US dollars, public position (None without a leaderboard), public score."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class CellCounts:
    """How many cells an agent ran, and how many of them failed."""

    execute_run: int = 0
    execute_failed: int = 0
    """Cells of `execute_code` that ended with an exception, a time-out or a crashed kernel."""
    validate_run: int = 0
    validate_failed: int = 0
    timeout: int = 0
    """Cells of either kind whose time was up."""
    broke: int = 0
    """Cells of either kind that crashed the kernel."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Activity:
    """What the agent did; steps of people are left out."""

    steps_by_kind: dict[str, int] = field(default_factory=dict)
    """Number of steps of each kind of action."""
    cells: CellCounts = CellCounts()
    errors: dict[str, int] = field(default_factory=dict)
    """Number of cells that each exception ended, by its name."""
    best_by_step: list[Improvement] = field(default_factory=list)
    """Each improvement of the best submission, in order."""


def activity_of(steps: Iterable[Step], *, higher_is_better: bool) -> Activity:
    """Count what the agent did."""
    kinds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    improvements: list[Improvement] = []
    progress = Progress(higher_is_better=higher_is_better)
    for step in steps:
        before, progress = progress.best, progress.after(step)
        if step.actor != "agent":
            continue
        kinds[step.action.kind] += 1
        if step.cell is not None:
            count_cell(step.cell, isinstance(step.outcome, CellExecuted), counts)
            if step.cell.error is not None:
                errors[step.cell.error.name] += 1
        if (best := progress.best) is not None and best is not before:
            place = best.grade.public
            improvements.append(
                [
                    step.number,
                    step.spent.seconds,
                    step.spent.money,
                    place.position if place else None,
                    best.grade.public_score,
                ]
            )
    return Activity(
        steps_by_kind=dict(sorted(kinds.items())),
        cells=CellCounts(**counts),
        errors=dict(sorted(errors.items())),
        best_by_step=improvements,
    )


def count_cell(cell: Cell, executed: bool, counts: Counter[str]) -> None:
    """Add a cell to the counts."""
    kind = "execute" if executed else "validate"
    failed = cell.error is not None or cell.timed_out or cell.broke is not None
    counts[f"{kind}_run"] += 1
    counts[f"{kind}_failed"] += failed
    counts["timeout"] += cell.timed_out
    counts["broke"] += cell.broke is not None
