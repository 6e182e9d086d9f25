"""All checks of a task folder, in order: those that cost little first."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kernel_env.audit.task import board, duplicates, exploits, leaks, preparation
from kernel_env.audit.task.finding import Finding, failed, not_applicable, not_run, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest, look
from kernel_env.errors import KernelError, SandboxError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare

DATA = (
    duplicates.rows,
    duplicates.texts,
    duplicates.files,
    leaks.public_files,
    leaks.columns,
    leaks.order,
)
BOARD = (board.entries, board.sample, board.constant, board.oracle)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A folder that was opened, as far as that went."""

    findings: list[Finding]
    case: TaskUnderTest | None
    """None when the rest cannot be checked."""


async def check(
    folder: Path, *, sandbox: str = "auto", fast: bool = False
) -> AsyncIterator[Finding]:
    """What is found in a task folder, check by check.

    Args:
        sandbox: where solution and cheats run; cheats need one that isolates.
        fast: leave the solution out.
    """
    async with Grader() as grader:
        opened = open_folder(folder)
        for finding in opened.findings:
            yield finding
        if opened.case is None:
            return
        async for finding in at_rest(opened.case, grader):
            yield finding
        async for finding in in_a_box(opened.case, sandbox, grader):
            yield finding
        if fast:
            yield not_run("solution", "left out, as --fast asks")
            return
        for finding in await board.solution(opened.case.task, sandbox, grader):
            yield finding


def open_folder(folder: Path) -> Opened:
    """Read and prepare it, and see that rows can be told apart by their ids."""
    try:
        task = spec.load(folder)
    except TaskError as error:
        return Opened(findings=[failed("schema", str(error))], case=None)
    findings = [ok("schema", "every file is there and every field is right")]
    findings += preparation.check(task)
    if task.scoring.form.is_free:
        why = "the task's grade.py reads submissions itself, so there are no columns to look at"
        return Opened(findings=[*findings, not_applicable("tables", why)], case=None)
    try:
        case = look(task, prepare(task))
    except (TaskError, OSError, ValueError) as error:
        if findings[-1].verdict == "ok":
            findings.append(failed("tables", f"what was prepared cannot be read: {error}"))
        return Opened(findings=findings, case=None)
    findings += duplicates.ids(case)
    return Opened(findings=findings, case=None if findings[-1].verdict == "failed" else case)


async def at_rest(case: TaskUnderTest, grader: Grader) -> AsyncIterator[Finding]:
    """What can be seen without running anything of the task."""
    for look_at in DATA:
        for finding in look_at(case):
            yield finding
    for grade in BOARD:
        for finding in await grade(case, grader):
            yield finding


async def in_a_box(case: TaskUnderTest, sandbox: str, grader: Grader) -> AsyncIterator[Finding]:
    """What an agent can do that does nothing, or that cheats."""
    chosen, make = choose(sandbox)
    isolated: bool = make.isolated  # type: ignore[attr-defined]
    try:
        async for finding in exploits.check(case, chosen, grader, isolated=isolated):
            yield finding
    except (SandboxError, KernelError) as error:
        yield failed("container", str(error))
