"""Execute the cells of Jupyter clients in a recoverable kernel, with undo and branches.

A kernel that a cell crashes is restored to the state before it, and the cell's output says so.
These magics run on the host:

    %checkpoint     take a checkpoint now, and list the cells that can be returned to
    %restore 3      return to the state after the cell [3]: variables, files, everything
    %branch 3       start a second kernel that continues after the cell [3]
    %branch         start one that continues from here
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any, TypeVar

from kernel_env.errors import UsageError
from kernel_env.jupyter.cell_output import CellOutput
from kernel_env.jupyter.executor import CellRequest, Command
from kernel_env.jupyter.server import Server
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.forking.checkpoints import CheckpointLimits
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.untrusted_text import quote_value

T = TypeVar("T")
LIMITS = CheckpointLimits(count=20)
"""A person returns to earlier cells more often than an agent does."""
BRANCH = "application/vnd.kernel-env.branch+json"
"""MIME type of a new branch: `title`, `connection_file`, and `kernelspec` where there is one."""


class Restarted(Exception):
    """The kernel was restarted while a cell ran."""


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A cell whose effects the kernel has."""

    step: int
    """Where the kernel finds it again."""
    code: str


class LiveKernel:
    """An executor around a recoverable kernel. Begin with `start`, end with `close`."""

    def __init__(
        self,
        kernel: RecoverableKernel,
        *,
        shut_down: Callable[[bool], Awaitable[None]],
        branches: "Branches",
        executed: Mapping[int, Executed] | None = None,
    ) -> None:
        """Create it without starting anything.

        Args:
            kernel: the kernel, which is closed with this object.
            shut_down: called when a client wants the kernel to end, or (True) to restart.
            branches: where the branches of the kernel are kept.
            executed: the cells that have run in the kernel, by the number in their prompt.
        """
        self._kernel, self._shut_down, self._branches = kernel, shut_down, branches
        self._executed = dict(executed or {})
        self._step = max((cell.step for cell in self._executed.values()), default=0)
        self._first_step = 0
        """The step after which the kernel was fresh."""
        self._work: asyncio.Task[Any] | None = None

    @property
    def kernel(self) -> KernelClient | None:
        """Return the connection to the running kernel; None while there is none."""
        return self._kernel.living

    @property
    def limitations(self) -> str:
        """Describe what this machine does not support for kernels; empty if nothing is missing."""
        return self._kernel.limitations

    @property
    def commands(self) -> dict[str, Command]:
        """Return the magics that run on the host."""
        return {"checkpoint": self._checkpoint, "restore": self._restore, "branch": self._branch}

    async def start(self) -> None:
        """Start the kernel. Raises `SandboxError`, `KernelError`."""
        await self._kernel.start()

    async def close(self) -> None:
        """End the kernel, and its sandbox if it was the last one there."""
        await self._stop_work()
        await self._kernel.close()

    # ── what clients ask for ──────────────────────────────────────────────────────────────

    async def execute(self, request: CellRequest, output: CellOutput) -> Mapping[str, Any]:
        """Execute a cell without a time limit: whoever sent it can interrupt it."""
        self._step += 1
        running = self._kernel.run(
            request.code,
            timeout_s=inf,
            step=self._step,
            silent=request.silent,
            request=request.fields,
            observe=output.observe,
        )
        try:
            cell = await self._working(running)
        except Restarted as error:
            return output.fail("KernelRestarted", str(error))
        if cell.execution_count and request.fields.get("store_history") and not cell.undone:
            self._forget_from(cell.execution_count)
            executed = Executed(step=self._step, code=request.code)
            self._executed[cell.execution_count] = executed
        return output.reply(cell)

    async def interrupt(self) -> None:
        """Interrupt the running cell; one that ignores it is ended at the next interrupt."""
        await self._kernel.interrupt()

    async def shutdown(self, *, restart: bool) -> None:
        """Let the owner end or restart the kernel."""
        await self._shut_down(restart)

    async def restart(self) -> str:
        """Start a fresh kernel that finds the files as they are; a running cell is ended.

        Returns why the files are lost; empty if they are not. Raises `SandboxError`, `KernelError`.
        """
        await self._stop_work()
        self._step += 1
        lost = await self._kernel.restart(step=self._step)
        self._executed.clear()
        self._first_step = self._step
        return lost

    async def signal(self, number: int) -> None:
        """Send a signal to the kernel's session. Raises `SandboxError`."""
        if self.kernel is not None:
            await self.kernel.process.signal(number)

    async def _working(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what a restart ends. Raises `Restarted`."""
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._work = task
        try:
            return await task
        except asyncio.CancelledError:
            if self._work is task:  # the caller was cancelled
                task.cancel()
                raise
            raise Restarted("the kernel was restarted while this cell ran") from None
        finally:
            if self._work is task:
                self._work = None

    async def _stop_work(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.wait({work})

    # ── magics ────────────────────────────────────────────────────────────────────────────

    async def _checkpoint(self, argument: str) -> str:
        if argument:
            raise UsageError("%checkpoint takes no argument")
        steps = set(await self._working(self._kernel.checkpoint()))
        lines = [
            f"[{number}] {'at once  ' if cell.step in steps else 'by replay'}  {first_line(cell)}"
            for number, cell in self._executed.items()
        ]
        hint = (
            "%restore N returns to the state after the cell [N], %branch N starts a second kernel"
        )
        if not lines:
            return f"no cell has run yet; {hint}\n"
        return "\n".join([f"{hint}; these cells can be returned to:", *lines, ""])

    async def _restore(self, argument: str) -> str:
        if not argument:
            raise UsageError("%restore needs the number of a cell: the one in its prompt")
        number = self._number(argument)
        later = [other for other in self._executed if other > number]
        began = time.monotonic()
        undone = await self._working(self._kernel.undo(step=self._step_after(number)))
        self._forget_from(number + 1)
        what = f"undone: {', '.join(f'[{other}]' for other in later)}" if later else "none later"
        lines = [f"restored to the state after the cell [{number}] ({what})"]
        if undone.cells:
            lines.append(f"{replayed(undone.cells)} in {time.monotonic() - began:.1f} s")
        if undone.lost:
            lines.append(f"not everything could be restored: {undone.lost}")
        return "; ".join(lines) + "\n"

    async def _branch(self, argument: str) -> Mapping[str, Any]:
        number = self._number(argument) if argument else max(self._executed, default=0)
        step = self._step_after(number) if argument else None
        forked = await self._working(self._kernel.fork(step=step))
        executed = {n: cell for n, cell in self._executed.items() if n <= number}
        branch = await self._branches.add(forked.kernel, executed, after=number)
        lines = [f"{branch.title}: a second kernel, with files of its own"]
        if forked.cells:
            lines.append(replayed(forked.cells))
        if forked.lost:
            lines.append(f"not everything could be restored: {forked.lost}")
        text = f"{'; '.join(lines)}.\n{branch.instructions}"
        return {"text/plain": text, BRANCH: branch.description}

    def _number(self, argument: str) -> int:
        number = int(argument) if argument.isascii() and argument.isdigit() else -1
        if number not in {0, *self._executed}:
            known = ", ".join(map(str, [0, *self._executed]))
            raise UsageError(
                f"no cell {quote_value(argument)} has run since the kernel's start; known are"
                f" {known} (0 is the fresh kernel)"
            )
        return number

    def _step_after(self, number: int) -> int:
        return self._executed[number].step if number else self._first_step

    def _forget_from(self, number: int) -> None:
        for later in [other for other in self._executed if other >= number]:
            del self._executed[later]


def replayed(cells: int) -> str:
    """Describe how many cells were replayed."""
    return f"{cells} cell{'s were' if cells > 1 else ' was'} replayed"


def first_line(cell: Executed) -> str:
    """Return the first line of a cell, shortened."""
    line = cell.code.strip().partition("\n")[0]
    return line if len(line) <= 60 else f"{line[:59]}…"


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """A kernel that was forked from another, and its server."""

    title: str
    kernel: LiveKernel
    server: Server
    kernelspec: str
    """Name of the kernelspec by which the running JupyterLab finds it; empty if none does."""

    @property
    def instructions(self) -> str:
        """Return how to open it."""
        file = self.server.connection_file
        inside = f"Choose the kernel “{self.title}” in a notebook of this JupyterLab, or run:\n"
        return (
            f"{inside if self.kernelspec else 'Open it with:'}\n"
            f"    kernel-env open --existing {file}\n"
            f"    jupyter console --existing {file}\n"
        )

    @property
    def description(self) -> dict[str, str]:
        """Return what a program needs to open it."""
        file = str(self.server.connection_file)
        return {"title": self.title, "connection_file": file, "kernelspec": self.kernelspec}


class Branches:
    """The kernels that were forked from one kernel, or from each other, and their servers."""

    def __init__(
        self,
        offer: Callable[[str, Server], str] = lambda *_: "",
        withdraw: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create it without any.

        Args:
            offer: called with the title and the server of a new branch; returns the name of the
                kernelspec by which the running JupyterLab finds it, or "".
            withdraw: called with that name when the branch has ended.
        """
        self._offer, self._withdraw = offer, withdraw
        self._all: list[Branch] = []
        self._ending: dict[Branch, asyncio.Task[None]] = {}
        self._numbers = count(1)

    async def add(
        self, kernel: RecoverableKernel, executed: Mapping[int, Executed], *, after: int
    ) -> Branch:
        """Serve a forked kernel. Raises `KernelError`, `SandboxError`, `OSError`."""

        async def shut_down(restart: bool) -> None:
            await (live.restart() if restart else self.end(branch))

        live = LiveKernel(kernel, shut_down=shut_down, branches=self, executed=executed)
        title = f"Branch {next(self._numbers)} (after cell {after})"
        server = Server(live, commands=live.commands)
        try:
            await live.start()
            await server.start()
        except BaseException:
            await live.close()
            raise
        name = self._offer(title, server)
        branch = Branch(title=title, kernel=live, server=server, kernelspec=name)
        self._all.append(branch)
        return branch

    async def end(self, branch: Branch) -> None:
        """End a branch. Idempotent."""
        if branch not in self._ending:
            self._ending[branch] = asyncio.create_task(self._end(branch))
        await asyncio.shield(self._ending[branch])

    async def _end(self, branch: Branch) -> None:
        if branch.kernelspec:
            self._withdraw(branch.kernelspec)
        try:
            await branch.server.close()
        finally:
            await branch.kernel.close()

    async def close(self) -> None:
        """End all branches."""
        for branch in self._all:
            await self.end(branch)
