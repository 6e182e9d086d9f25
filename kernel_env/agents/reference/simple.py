"""Play without models: do nothing, or submit the sample, the best constant or random targets."""

from kernel_env.agents.base import Options
from kernel_env.agents.reference.cells import (
    PlannedCell,
    cell_source,
    definitions,
    run_cells,
)
from kernel_env.agents.reference.guest import constant, random_rows, sample
from kernel_env.episode.episode import Episode


class SimpleAgent:
    """A reference agent without options and without a model."""

    trusted = True
    """It runs only code of this package."""
    model = ""
    """Empty, because no model decides."""

    def __init__(self, options: Options) -> None:
        """Ignore the options: none applies to this agent."""


class Nop(SimpleAgent):
    """The agent `nop`: it takes no step, so its episode ends without a submission."""

    async def play(self, episode: Episode) -> None:
        """Return at once."""


class Sample(SimpleAgent):
    """The agent `sample`: it submits sample_submission.csv as it is."""

    async def play(self, episode: Episode) -> None:
        """Copy the file in one step."""
        source = cell_source(sample, "submit_sample()")
        await run_cells(episode, [PlannedCell(title="Submit the sample as it is.", source=source)])


class Constant(SimpleAgent):
    """The agent `constant`: it submits the constant that scores best on the training targets.

    The constant depends on the metric: see `guest.constant.best_constant`. Where no public table
    has the targets, it submits the sample.
    """

    async def play(self, episode: Episode) -> None:
        """Read the targets and write the constant of each."""
        await run_cells(episode, constant_cells(episode))


class RandomValid(SimpleAgent):
    """The agent `random-valid`: it submits the targets of random training rows.

    The episode's seed decides which rows. Where no public table has the targets, it submits those
    of the sample in random order.
    """

    async def play(self, episode: Episode) -> None:
        """Read the targets and write those of random rows."""
        title = "Submit the targets of random training rows."
        source = cell_source(random_rows, "submit_random(TASK)")
        await run_cells(episode, [*definitions(episode), PlannedCell(title=title, source=source)])


def constant_cells(episode: Episode) -> list[PlannedCell]:
    """Return the cells that submit the best constant; they need no earlier cell."""
    title = "Submit the best constant for the metric."
    source = cell_source(constant, "submit_constant(TASK)")
    return [*definitions(episode), PlannedCell(title=title, source=source)]
