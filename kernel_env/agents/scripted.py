"""Plays any notebook, list of actions or journal."""

from kernel_env.agents import script
from kernel_env.agents.base import Options
from kernel_env.episode.episode import Episode
from kernel_env.errors import UsageError


class Scripted:
    """Reads its script when it is made, so that a bad one is noticed before anything starts."""

    model = ""

    def __init__(self, options: Options) -> None:
        if options.script is None:
            raise UsageError("the scripted agent needs a script; give one with --script FILE")
        self.lines = script.read(options.script)

    async def play(self, episode: Episode) -> None:
        """The script's actions, one step each."""
        await script.play(self.lines, episode)
