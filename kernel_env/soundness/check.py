"""All checks of a task folder, in order: those that cost little first."""

from collections.abc import AsyncIterator
from pathlib import Path

from kernel_env.errors import KernelError, SandboxError, TaskError
from kernel_env.grading.process import Grader
from kernel_env.sandbox.choose import choose
from kernel_env.soundness import board, cheats, leaks, preparing, twins
from kernel_env.soundness.case import look
from kernel_env.soundness.finding import Finding, failed, not_run, ok
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare

IN_A_BOX = (
    "empty agent",
    "cheat: forbidden paths",
    "cheat: environment",
    "cheat: network",
    "cheat: processes",
    "cheat: forged messages",
    "cheat: links",
)


async def check(
    folder: Path, *, sandbox: str = "auto", fast: bool = False
) -> AsyncIterator[Finding]:
    """What is found in a task folder, check by check.

    Args:
        sandbox: where solution and cheats run; cheats need one that isolates.
        fast: leave the solution out.
    """
    try:
        task = spec.load(folder)
    except TaskError as error:
        yield failed("schema", str(error))
        return
    yield ok("schema", "every file is there and every field is right")
    prepared = preparing.check(task)
    for finding in prepared:
        yield finding
    try:
        case = look(task, prepare(task))
    except (TaskError, OSError, ValueError) as error:
        if prepared[0].verdict == "ok":
            yield failed("tables", f"the prepared tables cannot be read: {error}")
        return
    ids = twins.ids(case)
    for finding in ids:
        yield finding
    if any(finding.verdict == "failed" for finding in ids):
        return  # what follows matches rows by their ids
    for pure in (
        twins.rows,
        twins.texts,
        twins.files,
        leaks.public_files,
        leaks.columns,
        leaks.order,
    ):
        for finding in pure(case):
            yield finding
    async with Grader() as grader:
        for graded in (board.sample, board.constant, board.oracle, board.empty):
            for finding in await graded(case, grader):
                yield finding
        chosen, make = choose(sandbox)
        if not make.isolated:  # type: ignore[attr-defined]
            for name in IN_A_BOX[1:]:
                yield not_run(
                    name, f"the sandbox {chosen!r} isolates nothing; it takes a container"
                )
        else:
            try:
                for finding in await cheats.nothing_done(case, chosen, grader):
                    yield finding
                for finding in await cheats.check(case, chosen, grader):
                    yield finding
            except (SandboxError, KernelError) as error:
                yield failed("container", str(error))
        if fast:
            yield not_run("solution", "left out, as --fast asks")
            return
        for finding in await board.solution(task, chosen, grader):
            yield finding
