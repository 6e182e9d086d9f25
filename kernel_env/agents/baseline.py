"""Plays the task's own solution notebook: what a good human might do."""

from kernel_env.agents import script
from kernel_env.agents.base import Options
from kernel_env.episode.episode import Episode
from kernel_env.errors import TaskError


class Baseline:
    """Needs nothing but the task."""

    model = "solution.ipynb"
    """No model decides: a person wrote what it plays."""

    def __init__(self, options: Options) -> None:
        """`options` say nothing that concerns it."""

    async def play(self, episode: Episode) -> None:
        """The solution's cells, one step each."""
        path = episode.rules.task.solution
        if not path.is_file():
            raise TaskError(f"{path} is missing; the baseline agent plays it")
        await script.play(script.read(path), episode)
