"""Play the task's own solution notebook, as a reference for other agents."""

from kernel_env.agents import script
from kernel_env.agents.base import Options
from kernel_env.episode.episode import Episode
from kernel_env.errors import TaskError


class Baseline:
    """The agent that plays `solution.ipynb` of the task, or its solution for another image."""

    trusted = True
    """The solution belongs to the task, whose other programs run on the host."""
    settings = ()
    model = "solution.ipynb"
    """The notebook's name, because no model decides. Records name the image apart."""

    def __init__(self, options: Options) -> None:
        """Ignore the options: none applies to this agent."""

    async def play(self, episode: Episode) -> None:
        """Execute the cells of the solution, one step each."""
        path = episode.setup.task.solution_for(episode.setup.config.image_name)
        if not path.is_file():
            raise TaskError(f"{path} is missing; the baseline agent plays it")
        await script.play(script.read(path), episode)
