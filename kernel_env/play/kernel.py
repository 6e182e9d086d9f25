"""Execute the cells of a person who plays an episode: they are its agent."""

import asyncio
from collections.abc import Mapping
from typing import Any

from kernel_env.episode.actions import Action, Reset
from kernel_env.episode.episode import Episode
from kernel_env.episode.people import EpisodeKernel
from kernel_env.episode.step import Step
from kernel_env.errors import KernelEnvError, KernelError, SandboxError, TaskError
from kernel_env.jupyter.cell_output import CellOutput
from kernel_env.kernel.connection.running_cell import Observer
from kernel_env.play.commands import Commands, standing_of
from kernel_env.untrusted_text import escape_line

ASKED = "application/vnd.kernel-env.command+json"
"""MIME type by which a function in the kernel asks for a magic: `command` and `argument`. The
result is shown below the cell, once that has ended; the code in the cell does not get it."""
MAX_ASKED = 5
"""How many magics a cell can ask for."""


class PlayedKernel(EpisodeKernel):
    """An executor whose cells are the steps of the agent, who is a person."""

    def __init__(self, episode: Episode) -> None:
        super().__init__(episode, "agent")
        self.commands = Commands(episode, self.act).by_name
        self._ended = asyncio.Event()
        self._failure: KernelEnvError | None = None

    async def act(self, action: Action, observe: Observer | None = None) -> Step:
        """Take a step. If the machine or the task's metric fails, the episode ends."""
        try:
            return await super().act(action, observe)
        except (SandboxError, KernelError, TaskError) as error:
            self._failure = error
            self._ended.set()
            raise

    async def end(self) -> None:
        """Wait until the person has shut the kernel down.

        Raises `SandboxError`, `KernelError`, `TaskError` if one of these has ended the episode.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def after(self, step: Step, output: CellOutput) -> None:
        """Show the submission's result, what is left, and what the cell has asked for."""
        await super().after(step, output)
        assert step.cell is not None
        asked = [o["data"][ASKED] for o in step.cell.outputs if ASKED in o.get("data", {})]
        for request in asked[:MAX_ASKED]:
            try:
                output.show(await self._answer(request))
            except KernelEnvError as error:
                output.print(f"{escape_line(str(error))}\n", name="stderr")
        if not asked:
            output.print(f"{standing_of(self.episode)}\n")

    async def _answer(self, request: Any) -> str | Mapping[str, Any]:
        match request:
            case {"command": str(name), "argument": str(argument)} if name in self.commands:
                return await self.commands[name](argument.strip())
        return ""

    async def shutdown(self, *, restart: bool) -> None:
        """Take the action `reset` for a restart; otherwise note that the person is done."""
        if not restart:
            self._ended.set()
        elif not self.episode.over:
            await self.interrupt()
            await self.act(Reset())
