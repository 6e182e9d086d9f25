"""Define the magics of a person who plays an episode. They run on the host.

%budget           what is left, and the best score; takes no step
%submit           what was submitted; takes no step
%submit TABLE     write a table as the submission
%task [PART]      read about the task: the action `request_info`
%history [N]      show the latest steps: the action `get_history`
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from kernel_env.episode import json_codec
from kernel_env.episode.actions import Action
from kernel_env.episode.episode import Episode
from kernel_env.episode.observation import OWN_LINE, describe, standing, submission_lines
from kernel_env.episode.step import Step
from kernel_env.errors import ActionError, UsageError
from kernel_env.jupyter.executor import Command
from kernel_env.untrusted_text import join

WRITE = "({}).to_csv(__import__('os').environ['OUTPUT_PATH'], index=False)"
"""The cell of `%submit TABLE`."""


class Commands:
    """The magics of one episode."""

    def __init__(self, episode: Episode, act: Callable[[Action], Awaitable[Step]]) -> None:
        """`act` takes a step of the episode."""
        self._episode, self._act = episode, act

    @property
    def by_name(self) -> dict[str, Command]:
        """Return the magics by their names, without the percent sign."""
        return {
            "budget": self.budget,
            "submit": self.submit,
            "task": self.task,
            "history": self.history,
        }

    async def budget(self, argument: str = "") -> str:
        """Return what is left of the budget, and the best score."""
        if argument:
            raise UsageError("%budget takes no argument")
        return f"{self._standing}\n{self._episode.rules_text}\n"

    async def submit(self, argument: str = "") -> str:
        """Write a table as the submission; without an argument, return the latest one's result."""
        if argument:
            return await self._take({"kind": "execute_code", "code": WRITE.format(argument)})
        latest = next((s for s in reversed(self._episode.steps) if s.submission), None)
        found = ["Nothing was submitted yet."]
        if latest is not None:
            found = [f"Step {latest.number}:", *submission_lines(latest.submission)]
        path = self._episode.info("output_path")
        lines = [
            f"A cell that changes {path} hands it in; %submit TABLE writes a table there.",
            *found,
        ]
        return join([*lines, self._standing], OWN_LINE) + "\n"

    async def task(self, argument: str = "") -> str:
        """Take the step `request_info`."""
        return await self._take({"kind": "request_info", "info_type": argument or "overview"})

    async def history(self, argument: str = "") -> str:
        """Take the step `get_history`."""
        last = int(argument) if argument.isdigit() else argument or 5
        return await self._take({"kind": "get_history", "last": last})

    async def _take(self, action: dict[str, object]) -> str:
        try:
            parsed = json_codec.parse_action(action)
        except ActionError as error:
            raise UsageError(str(error)) from error
        step = await self._act(parsed)
        return join([*describe(step), self._standing], OWN_LINE) + "\n"

    @property
    def _standing(self) -> str:
        """Return the best score, and what is left now."""
        return standing_of(self._episode)


def standing_of(episode: Episode) -> str:
    """Describe the best score of an episode, and what is left of its budget now."""
    return standing(replace(episode.progress, spent=episode.spent), episode.setup.budget)
