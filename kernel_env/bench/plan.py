"""List the measures and run them one after the other."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from kernel_env.bench.agents import crowd, thinkers
from kernel_env.bench.floods import floods
from kernel_env.bench.measure import Bench, Progress, Row
from kernel_env.bench.memory import kernels
from kernel_env.bench.recovery import branches, recovery
from kernel_env.bench.reports import reports
from kernel_env.bench.rollouts import group, rollouts
from kernel_env.bench.search import tree
from kernel_env.bench.starts import resets, starts
from kernel_env.bench.steps import long_episode, notebook, pictures, standby
from kernel_env.bench.suites import suites
from kernel_env.bench.workload import work
from kernel_env.errors import UnknownName
from kernel_env.sandbox.selection import choose

MEASURES: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "starts": starts,
    "resets": resets,
    "recovery": recovery,
    "branches": branches,
    "standby": standby,
    "steps": long_episode,
    "notebook": notebook,
    "pictures": pictures,
    "crowd": crowd,
    "thinkers": thinkers,
    "rollouts": rollouts,
    "group": group,
    "kernels": kernels,
    "floods": floods,
    "suites": suites,
    "reports": reports,
    "work": work,
    "tree": tree,
}
"""The measures by their command-line names, in the order in which they run."""


async def measure(
    names: Sequence[str],
    *,
    sandbox: str,
    folder: Path,
    share: float,
    scale: float,
    progress: Progress,
    skip: Callable[[str], None],
) -> AsyncIterator[Row]:
    """Run measures and yield their rows.

    Args:
        names: names of measures; empty: all.
        sandbox: the sandbox's name, or `auto`.
        folder: the parent of the episodes' folders. Threads of interrupted measures may still
            write to it until the event loop is closed.
        share: the share of the usual number of repeats.
        scale: the share of the usual size of data and outputs.
        progress: receives what is measured and the share that is done, None when unknown.
        skip: receives what is not measured, with the reason.

    Raises:
        UnknownName: no measure has one of the names.
    """
    for name in names:
        if name not in MEASURES:
            raise UnknownName("measure", name, MEASURES)
    chosen, make = choose(sandbox, trusted=True)
    bench = Bench(
        sandbox=chosen,
        make=make,
        folder=folder,
        share=share,
        scale=scale,
        progress=progress,
        skip=skip,
    )
    for name in names or MEASURES:
        for row in await MEASURES[name](bench):
            yield row
