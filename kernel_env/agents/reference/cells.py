"""Build the cells of reference agents from modules of `guest`, and run them."""

import inspect
import pprint
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from kernel_env.agents.reference.guest import tables
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.episode import Episode
from kernel_env.episode.step import CellExecuted, Rejected


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell: what it is for, and its source."""

    title: str
    """One sentence for the reader of the notebook, recorded as the step's thought."""
    source: str


def definitions(episode: Episode) -> list[PlannedCell]:
    """Return the cells that define TASK, the facts of the task, and how its files are read."""
    task, schema = episode.setup.task, episode.setup.task.scoring.schema
    facts = {
        "ids": list(schema.id_columns),
        "targets": list(schema.target_columns),
        "metric": task.file.metric.name,
        "wants": schema.wants,
        "kind": task.file.kind,
        "seed": episode.setup.header.seed or 0,
    }
    return [
        PlannedCell(
            title="The facts of the task that the code uses.",
            source=f"TASK = {pprint.pformat(facts, sort_dicts=False)}",
        ),
        PlannedCell(title="Define how the files are read.", source=cell_source(tables)),
    ]


def cell_source(module: ModuleType, call: str = "") -> str:
    """Return a module of `guest` as a cell, with a call at its end.

    The modules that it imports from its folder must have run as cells before: these lines are
    left out.
    """
    lines = inspect.getsource(module).splitlines()
    kept = [line for line in lines if not line.startswith("from .")]
    return "\n".join([*kept, "", "", call]).strip()


async def run_cells(episode: Episode, cells: Sequence[PlannedCell]) -> str:
    """Run cells until one fails or the budget is used up.

    Returns:
        What failed: the exception of a cell, its time-out, its kernel's crash, or the rejection of
        the submission that it left; empty if nothing did.
    """
    for cell in cells:
        if episode.over:
            return ""
        step = await episode.act(ExecuteCode(code=cell.source), thought=cell.title)
        if failure := failure_of(step.outcome):
            return failure
    return ""


def failure_of(outcome: object) -> str:
    """Return what failed in a cell as one line; empty if nothing did."""
    assert isinstance(outcome, CellExecuted)
    cell = outcome.cell
    if cell.broke:
        return f"the kernel crashed: {cell.broke}"
    if cell.timed_out:
        return "the cell's time was up"
    if cell.error:
        return f"{cell.error.name}: {cell.error.value}"
    if isinstance(outcome.submission, Rejected):
        return f"the submission was rejected: {outcome.submission.reason}"
    return ""
