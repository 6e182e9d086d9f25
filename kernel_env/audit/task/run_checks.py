"""Run all checks of a task folder, the cheap ones first."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kernel_env.audit.task import (
    board,
    duplicates,
    exploits,
    imported,
    leaks,
    preparation,
    publication,
)
from kernel_env.audit.task.finding import Finding, failed, not_run, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest, load_tables
from kernel_env.errors import KernelError, SandboxError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import Task, spec
from kernel_env.tasks.prepare import prepare

DATA_CHECKS = (
    duplicates.check_rows,
    duplicates.check_texts,
    duplicates.check_files,
    leaks.check_public_files,
    leaks.check_columns,
    leaks.check_order,
)
LEADERBOARD_CHECKS = (
    board.check_entry_count,
    board.check_sample,
    board.check_constant_answer,
    board.check_oracle,
)


@dataclass(frozen=True, kw_only=True)
class OpenedFolder:
    """A task folder after loading and preparing."""

    findings: list[Finding]
    """The findings of loading, preparing and comparing the ids."""
    subject: TaskUnderTest | None
    """The loaded tables; None when the other checks cannot run."""


async def check(
    folder: Path,
    *,
    sandbox: str = "auto",
    fast: bool = False,
    gpus: int | None = None,
    gpu_device: str = "",
) -> AsyncIterator[Finding]:
    """Run all checks of a task folder and yield their findings.

    Args:
        folder: the task folder.
        sandbox: the sandbox in which the solutions and the exploits run. Exploits run only in a
            sandbox that isolates.
        fast: whether to skip the solutions.
        gpus: number of GPUs for the solutions; None for the task's.
        gpu_device: which GPUs: index or UUID, several separated by commas; empty for any.
    """
    async with Grader() as grader:
        opened = open_folder(folder)
        for finding in opened.findings:
            yield finding
        if opened.subject is None:
            return
        async for finding in check_data(opened.subject, grader):
            yield finding
        async for finding in check_in_sandbox(opened.subject, sandbox, grader):
            yield finding
        if fast:
            yield not_run("solution", "skipped because of --fast")
            return
        for finding in await board.check_solutions(
            opened.subject.task, sandbox, grader, gpus=gpus, gpu_device=gpu_device
        ):
            yield finding


def open_folder(folder: Path) -> OpenedFolder:
    """Load and prepare a task folder, and check its ids."""
    try:
        task = spec.load(folder)
    except TaskError as error:
        return OpenedFolder(findings=[failed("schema", str(error))], subject=None)
    findings = [ok("schema", "every file is present and every field is valid")]
    findings += publication.check(task)
    findings += preparation.check(task)
    if task.scoring.schema.is_free_form:
        return open_free_form(task, findings)
    try:
        subject = load_tables(task, prepare(task))
    except (TaskError, OSError, ValueError) as error:
        if findings[-1].verdict == "ok":
            findings.append(failed("tables", f"the prepared tables cannot be read: {error}"))
        return OpenedFolder(findings=findings, subject=None)
    findings += duplicates.check_ids(subject)
    return OpenedFolder(
        findings=findings, subject=None if findings[-1].verdict == "failed" else subject
    )


def open_free_form(task: Task, findings: list[Finding]) -> OpenedFolder:
    """Prepare a task whose own grader reads the files, and check its data as far as known."""
    try:
        prepared = prepare(task)
        more, guessed = imported.check(task, prepared)
        more += [] if guessed is None else [f for c in DATA_CHECKS for f in c(guessed)]
    except (TaskError, OSError, ValueError) as error:
        more = []
        if findings[-1].verdict == "ok":
            more = [failed("tables", f"the prepared tables cannot be read: {error}")]
    return OpenedFolder(findings=[*findings, *more], subject=None)


async def check_data(subject: TaskUnderTest, grader: Grader) -> AsyncIterator[Finding]:
    """Run the checks of the tables and the leaderboard, which run no code of an agent."""
    for check_tables in DATA_CHECKS:
        for finding in check_tables(subject):
            yield finding
    for check_board in LEADERBOARD_CHECKS:
        for finding in await check_board(subject, grader):
            yield finding


async def check_in_sandbox(
    subject: TaskUnderTest, sandbox: str, grader: Grader
) -> AsyncIterator[Finding]:
    """Run the checks that play an episode: an agent that submits nothing, and the exploits."""
    chosen, make = choose(sandbox, trusted=True)
    isolated: bool = make.isolated  # type: ignore[attr-defined]
    try:
        async for finding in exploits.check(subject, chosen, grader, isolated=isolated):
            yield finding
    except (SandboxError, KernelError) as error:
        yield failed("container", str(error))
