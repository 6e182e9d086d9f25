"""Programs return the same as in plain Jupyter: live, after a crash, in a trial, in a fork."""

from collections.abc import Sequence

import pytest
from _pytest.mark.structures import ParameterSet

from support.semantics.open_failures import open_failure
from support.semantics.program import MODES, Mode, Program
from support.semantics.programs import all_programs
from support.semantics.runner import Runner, unexpected

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # nbclient's own
]
PROGRAMS = all_programs()
SAMPLES = {
    "popen-communicate-in-a-later-cell",
    "executor-kept",
    "pool-kept-fork",
    "buffer-not-flushed",
    "shared-memory-by-name",
    "reload",
    "lone-surrogates",
    "stdout-replaced-across-cells",
    "random-states",
}
"""Programs that are run in every mode by default; `make test-semantics` runs all."""


def cases(programs: Sequence[Program], modes: Sequence[Mode], *, run: bool) -> list[ParameterSet]:
    """Return programs in modes; those that are known to fail are run only if asked to."""
    return [
        pytest.param(
            program,
            mode,
            id=f"{mode}-{program.name}",
            marks=[pytest.mark.xfail(reason=cause, run=run)]
            if (cause := open_failure(program.name, mode))
            else [],
        )
        for mode in modes
        for program in programs
    ]


async def check(program: Program, mode: Mode, runner: Runner) -> None:
    if missing := await runner.oracle.missing(program.needs):
        pytest.skip(f"needs {missing} in the sandbox")
    if program.names_memory and mode != "plain" and runner.sandbox == "local":
        pytest.skip("needs a sandbox with its own /dev/shm")

    differences = await runner.run(program, mode)

    assert unexpected(program, mode, differences) == [], "\n".join(program.cells)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("program", "mode"),
    cases([program for program in PROGRAMS if program.name in SAMPLES], MODES, run=False),
)
async def test_a_program_runs_as_in_plain_jupyter(
    program: Program, mode: Mode, docker_runner: Runner
) -> None:
    await check(program, mode, docker_runner)


@pytest.mark.semantics
@pytest.mark.parametrize(("program", "mode"), cases(PROGRAMS, MODES, run=True))
async def test_all_programs_run_in_all_modes(program: Program, mode: Mode, runner: Runner) -> None:
    await check(program, mode, runner)
