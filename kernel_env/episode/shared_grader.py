"""Share one grading process between an episode and its forks, and know who they are."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from kernel_env.grading.host import Grader, GradingSpec


class SharedGrader:
    """A grader that the last of its users ends."""

    def __init__(self, grader: Grader, stack: AsyncExitStack, grading_spec: GradingSpec) -> None:
        """Start the grading process in the background.

        Args:
            grader: the grader to share.
            stack: closed by the last user; contains the grader unless the caller owns it.
            grading_spec: what will be graded.
        """
        self.grader, self._stack = grader, stack
        self._warming = asyncio.create_task(grader.warm_up(grading_spec))
        self.users = 0
        """How many episodes have joined and not left."""
        self.folders: list[Path] = []
        """The folders of all episodes that have used it."""

    def join(self, folder: Path) -> Self:
        """Add an episode, by its folder."""
        self.users += 1
        self.folders.append(folder)
        return self

    async def leave(self) -> None:
        """Remove a user; the last one closes the stack."""
        self.users -= 1
        if not self.users:
            await asyncio.gather(self._warming, return_exceptions=True)
            await self._stack.aclose()
