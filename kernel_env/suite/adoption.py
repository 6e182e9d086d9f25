"""Complete the records of a suite whose driver was killed.

An attempt that began and has no ending in the records was left by a driver that is gone. If its
journal has an ending, the episode is adopted as it ended. Otherwise it was interrupted: what it
cost is recorded, and the job is played again. Nothing of the episode is removed.
"""

from collections.abc import Iterable, Iterator, Mapping

from kernel_env.suite.history import History
from kernel_env.suite.log import Fault, Finished, Started
from kernel_env.suite.plan import Job, Suite
from kernel_env.suite.playing import Played, recorded
from kernel_env.suite.scheduler import line_of

KILLED = "the suite's driver was killed"


def adopt(
    suite: Suite, jobs: Iterable[Job], histories: Mapping[str, History]
) -> Iterator[Finished | Fault]:
    """Yield the lines that are missing from the records; the caller writes them.

    Args:
        suite: the suite.
        jobs: the jobs that only this driver plays.
        histories: what has happened to each.
    """
    for job in jobs:
        history = histories.get(job.key)
        if history and history.last and history.last.ending is None:
            started = history.last.started
            yield line_of(suite, started, found_of(suite, started))


def found_of(suite: Suite, started: Started) -> Played:
    """Return how an attempt ended, as far as its journal tells."""
    result = recorded(suite.folder / started.folder)
    return Played(
        status=result.status if result else "interrupted",
        reason=(result.error if result else "") or KILLED,
        result=result,
        host=started.host,
    )
