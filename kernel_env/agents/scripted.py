"""Play the actions of a notebook, a list of actions or a journal."""

from kernel_env.agents import script
from kernel_env.agents.base import Options
from kernel_env.episode.episode import Episode
from kernel_env.errors import UsageError


class Scripted:
    """The agent that plays a script, read at construction so that errors precede the episode."""

    settings = ()
    model = ""
    """Empty, because no model decides."""

    def __init__(self, options: Options) -> None:
        if options.script is None:
            raise UsageError("the scripted agent needs a script; give one with --script FILE")
        self.actions = script.read(options.script)
        self.trusted = not script.is_recorded(options.script)
        """The code of a recorded episode is its agent's."""

    async def play(self, episode: Episode) -> None:
        """Execute the actions of the script, one step each."""
        await script.play(self.actions, episode)
