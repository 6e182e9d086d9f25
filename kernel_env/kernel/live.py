"""The box and the kernel that the next cell runs in: there when needed, replaced when they died.

Nothing dies silently: the cell that a kernel died in says so, and a kernel that died
between two cells is told of with the next one.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import PurePosixPath

from kernel_env.errors import SandboxError
from kernel_env.kernel import scratch
from kernel_env.kernel.session import Kernel, open_kernel
from kernel_env.sandbox.base import WORKSPACE, Sandbox
from kernel_env.step import Cell


class Live:
    """A kernel for an episode. Enter it with `start`, leave it with `close`."""

    def __init__(
        self, make_sandbox: Callable[[], Sandbox], paths: Mapping[str, PurePosixPath]
    ) -> None:
        """`paths` become environment variables of the kernel, as the box has these paths."""
        self._make_sandbox, self._paths = make_sandbox, paths
        self._box: Sandbox | None = None
        self._kernel: Kernel | None = None
        self._box_stack, self._kernel_stack = AsyncExitStack(), AsyncExitStack()
        self._told = False
        """Whether a cell has told of the death of the kernel that is there."""
        self._untold = ""
        """Why the last kernel died, until a cell has told it."""

    @property
    def box(self) -> Sandbox:
        """The box that is there now."""
        assert self._box is not None, "start comes first"
        return self._box

    async def start(self) -> Kernel:
        """See to a box and a kernel that live. Raises `SandboxError`, `KernelError`."""
        if self._kernel is not None and self._kernel.dead:
            if not self._told:
                self._untold = self._kernel.dead
            await self._end_kernel()
            await self._sweep(empty=False)
        if self._box is None:
            self._box = await self._box_stack.enter_async_context(self._make_sandbox())
        if self._kernel is None:
            self._kernel = await self._kernel_stack.enter_async_context(
                open_kernel(self._box, env=self._env(self._box))
            )
        return self._kernel

    async def run(self, code: str, *, timeout_s: float) -> Cell:
        """Run a cell, in a fresh kernel if the last one died. Raises `SandboxError`."""
        kernel = await self.start()
        self._told = False
        cell = await kernel.run(code, timeout_s=timeout_s)
        untold, self._untold = self._untold, ""
        lost = cell.state_lost
        if untold and not lost:
            lost = f"{untold}, before this cell; it ran in a fresh kernel"
        if kernel.dead:
            self._told = True
            if await self._box_is_gone():
                lost = f"{lost}; the files in {WORKSPACE} are gone too"
        return replace(cell, state_lost=lost)

    async def try_out(self, code: str, *, timeout_s: float) -> Cell:
        """Run a cell where nothing it does lasts; see `scratch`."""
        await self.start()
        return await scratch.try_out(
            code, self.box, self._make_sandbox, env=self._env, timeout_s=timeout_s
        )

    async def reset(self) -> None:
        """A fresh kernel and an empty box."""
        self._untold = ""
        await self._end_kernel()
        await self._sweep(empty=True)
        await self.start()

    async def close(self) -> None:
        """End the kernel and the box."""
        await self._end_kernel()
        await self._end_box()

    def _env(self, box: Sandbox) -> dict[str, str]:
        return {name: str(box.where(path)) for name, path in self._paths.items()}

    async def _end_kernel(self) -> None:
        self._kernel = None
        await self._kernel_stack.aclose()

    async def _end_box(self) -> None:
        self._box = None
        await self._box_stack.aclose()

    async def _sweep(self, *, empty: bool) -> None:
        """End what runs in the box; a box that does not obey any more is given up."""
        if self._box is not None:
            try:
                await self._box.sweep(empty=empty)
            except SandboxError:
                await self._end_box()
            except OSError as error:  # what the agent left cannot be deleted
                await self._end_box()
                if not empty:
                    self._untold = (
                        f"a temporary folder could not be emptied ({error.strerror}), so the box"
                        f" was replaced; the files in {WORKSPACE} are gone too"
                    )

    async def _box_is_gone(self) -> bool:
        await asyncio.sleep(0)  # the end of the box may be the next thing we hear
        try:
            await self.box.stat(WORKSPACE)
        except SandboxError:
            return True
        return False
