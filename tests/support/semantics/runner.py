"""Run programs in forkable kernels, in each mode, and compare them with plain Jupyter."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Spec
from support.kernels import HANG_S, KERNEL_FOLDERS, fork_kernel, kernel_source, run_cell
from support.semantics.compare import Outputs, comparable, described
from support.semantics.oracle import Oracle, root_of
from support.semantics.program import Mode, Program

SPEC = Spec(image="tabular", folders=KERNEL_FOLDERS, memory_gb=2, workspace_gb=0.25, processes=512)
CELL_S = 10.0
FAULT = "import os; os._exit(1)"


@dataclass
class Run:
    """What one run of a program in one mode returned."""

    program: Program
    expected: list[Outputs]
    steps: Iterator[int]
    found: list[tuple[str, int, Outputs, str]] = field(default_factory=list)
    """For each cell that ran: where, its number, its outputs, and what was wrong with the kernel."""

    def add(self, where: str, number: int, cell: Cell, kernel: RecoverableKernel) -> None:
        """Add a cell."""
        outputs = comparable(list(cell.outputs), self.program, root_of(kernel.sandbox))
        wrong = f"the cell crashed the kernel: {cell.broke}" if cell.broke else ""
        wrong = f"the cell hung; {wrong}" if cell.timed_out else wrong
        if cell.recovery and cell.recovery.before:
            wrong += f" the kernel had died before: {cell.recovery.cause}"
        if cell.recovery and cell.recovery.how == "replay":
            wrong += " recovered by replay"
        self.found.append((where, number, outputs, wrong))

    def differences(self) -> list[str]:
        """Return a line for each cell that differs from plain Jupyter."""
        lines = []
        for where, number, outputs, wrong in self.found:
            text = "; ".join(filter(None, (wrong, described(self.expected[number], outputs))))
            if text:
                lines.append(f"{where}, cell {number + 1}: {text}")
        return lines


@dataclass
class Runner:
    """Runs programs in one sandbox, where they share a kernel that is reset between them."""

    sandbox: str
    oracle: Oracle
    _kernel: RecoverableKernel | None = None
    _used: bool = False
    _steps: Iterator[int] = field(default_factory=lambda: count(1))

    async def run(self, program: Program, mode: Mode) -> list[str]:
        """Run a program in a mode. Returns what differs from plain Jupyter, cell by cell."""
        expected = await self.oracle.outputs(program)
        try:
            run = Run(program, expected, self._steps)
            kernel = await self._pristine_kernel()
            match mode:
                case "plain":
                    await run_cells(run, kernel, range(len(program.cells)), "live")
                case "fault":
                    await run_with_faults(run, kernel)
                case "trial":
                    await run_with_trials(run, kernel)
                case "fork":
                    await run_with_forks(run, kernel)
        except BaseException:
            await self.close()
            raise
        return run.differences()

    async def _pristine_kernel(self) -> RecoverableKernel:
        if self._kernel is None:
            self._kernel = RecoverableKernel(kernel_source(SPEC, self.sandbox))
            await self._kernel.start()
        elif self._used:
            await self._kernel.reset(step=next(self._steps))
        self._used = True
        return self._kernel

    async def close(self) -> None:
        """End the kernel; the next program gets a new one, in a new sandbox."""
        kernel, self._kernel, self._used = self._kernel, None, False
        if kernel is not None:
            await kernel.close()


async def run_cells(
    run: Run, kernel: RecoverableKernel, numbers: Sequence[int], where: str
) -> None:
    """Run some cells of the program."""
    for number in numbers:
        cell = await run_cell(kernel, run.program.cells[number], CELL_S, step=next(run.steps))
        run.add(where or "live", number, cell, kernel)


async def run_with_faults(run: Run, kernel: RecoverableKernel) -> None:
    """Crash the kernel after each cell but the last."""
    for number in range(len(run.program.cells)):
        if number:
            await run_cell(kernel, FAULT, CELL_S, step=next(run.steps))
        await run_cells(run, kernel, [number], "after a crash" if number else "live")


async def run_with_trials(run: Run, kernel: RecoverableKernel) -> None:
    """Run each cell in a trial first."""
    for number, code in enumerate(run.program.cells):
        trial = kernel.run_trial(code, timeout_s=CELL_S)
        run.add("trial", number, await asyncio.wait_for(trial, HANG_S), kernel)
        await run_cells(run, kernel, [number], "live after the trial")


async def run_with_forks(run: Run, kernel: RecoverableKernel) -> None:
    """After each cell but the last, run the remaining ones in a fork."""
    last = len(run.program.cells) - 1
    for number in range(last + 1):
        await run_cells(run, kernel, [number], "live")
        if number < last:
            forked = (await fork_kernel(kernel)).kernel
            try:
                where = f"fork after cell {number + 1}"
                await run_cells(run, forked, range(number + 1, last + 1), where)
            finally:
                await forked.close()


def unexpected(program: Program, mode: Mode, lines: list[str]) -> list[str]:
    """Return the differences that the program does not allow in this mode.

    What runs in the live kernel must not differ, unless it differs without copies too. An allowed
    difference that does not occur is reported, so that it is removed.
    """
    allowed = program.difference(mode)
    if allowed is None:
        return lines
    in_live = mode == "plain" or program.difference("plain") is allowed
    excused = [
        line
        for line in lines
        if (in_live or not line.startswith("live"))
        and not re.search("the cell hung|crashed the kernel", line)
        and re.search(allowed.shows, line)
    ]
    if not excused:
        return [*lines, f"no difference was found, but one was expected: {allowed.reason}"]
    return [line for line in lines if line not in excused]
