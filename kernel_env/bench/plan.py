"""Which measures there are, and how they are taken: one after the other, each by itself."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from kernel_env.bench.floods import floods
from kernel_env.bench.measure import Bench, Row, Tell
from kernel_env.bench.memory import kernels
from kernel_env.bench.recovery import branches, recovery
from kernel_env.bench.starts import resets, starts
from kernel_env.bench.steps import crowd, long_episode, standby
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
    "crowd": crowd,
    "kernels": kernels,
    "floods": floods,
    "work": work,
}
"""By the names that the command line knows them by, in the order in which they are taken."""


async def measure(
    names: Sequence[str],
    *,
    sandbox: str,
    share: float,
    scale: float,
    tell: Tell,
    skip: Callable[[str], None],
) -> AsyncIterator[Row]:
    """Rows as they come. Raises `UnknownName`, and whatever stops a measure.

    Args:
        names: of measures; all when there are none.
        sandbox: a sandbox's name, or `auto`.
        share: of the usual number of repeats.
        scale: of the usual size of data and outputs.
        tell: is told what is being done.
        skip: is told what is not measured, and why.
    """
    for name in names:
        if name not in MEASURES:
            raise UnknownName("measure", name, MEASURES)
    chosen, make = choose(sandbox)
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        bench = Bench(
            sandbox=chosen,
            make=make,
            folder=Path(folder),
            share=share,
            scale=scale,
            tell=tell,
            skip=skip,
        )
        for name in names or MEASURES:
            for row in await MEASURES[name](bench):
                yield row
