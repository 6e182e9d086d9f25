"""Search for the best solution over forks of one kernel, with a chat model.

The settings are in `settings`, what is continued next in `policies`, what the model reads in
`prompts`, and the loop in `search`.
"""

from contextlib import aclosing

from kernel_env.agents.base import Options
from kernel_env.agents.openai.model import ChatModel
from kernel_env.agents.tree import prompts
from kernel_env.agents.tree.search import Search
from kernel_env.agents.tree.settings import NAMES, read_settings
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentSetupError


class TreeAgent:
    """An agent that tries many continuations of a kernel's state, and ends with the best."""

    settings = NAMES

    def __init__(self, options: Options) -> None:
        """Create the client.

        Raises:
            AgentSetupError: the model's name or the key is missing, or a setting has a wrong value.
            UsageError: the endpoint's URL is invalid; `UnknownName` for an unknown policy.
        """
        if not options.model:
            raise AgentSetupError("the tree agent needs a model; give one with --model NAME")
        self.model = options.model
        self.seed = options.seed
        self.chosen = read_settings(options.settings)
        self._chat = ChatModel(options, instructions=prompts.SYSTEM)

    async def play(self, episode: Episode) -> None:
        """Search until the budget is used up, and continue the episode as the best branch."""
        async with aclosing(self._chat):
            self._chat.check_price(episode)
            if episode.setup.header.feedback == "validity":
                raise AgentSetupError(
                    "the tree agent compares scores, and with the feedback 'validity' it sees"
                    " none; choose --feedback public, both or ladder"
                )
            episode.note("instructions", prompts.SYSTEM)
            await Search(episode, self._chat, self.chosen, self.seed).run()
