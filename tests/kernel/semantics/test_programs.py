"""Programs return the same as in plain Jupyter: live, after a crash, in a trial, in a fork."""

import pytest

from support.semantics.program import COPIES, MODES, Mode, Program
from support.semantics.programs import all_programs
from support.semantics.runner import Runner, unexpected

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # nbclient's own
]
PROGRAMS = all_programs()
SAMPLES = {
    "popen-communicate-in-a-later-cell",
    "task-awaited-in-a-later-cell",
    "executor-kept",
    "pool-kept-fork",
    "value-and-lock-without-a-child",
    "buffer-not-flushed",
    "sqlite-across-cells",
    "listen-connect-accept-across-cells",
    "shared-memory-by-name",
    "bash",
    "figure-kept-open",
    "reload",
    "lone-surrogates",
    "interval-timer",
    "stdout-replaced-across-cells",
    "scikit-learn-with-openmp",
    "random-states",
}
"""Programs that are run in every mode by default; `make test-semantics` runs all."""


def name_of(value: Program | str) -> str:
    return value.name if isinstance(value, Program) else value


async def check(program: Program, mode: Mode, runner: Runner) -> None:
    if missing := await runner.oracle.missing(program.needs):
        pytest.skip(f"needs {missing} in the sandbox")

    differences = await runner.run(program, mode)

    assert unexpected(program, mode, differences) == [], "\n".join(program.cells)


@pytest.mark.docker
@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
async def test_a_program_runs_as_in_plain_jupyter(program: Program, docker_runner: Runner) -> None:
    await check(program, "plain", docker_runner)


@pytest.mark.docker
@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.name in SAMPLES], ids=name_of)
@pytest.mark.parametrize("mode", COPIES)
async def test_a_sample_runs_in_copies_as_in_plain_jupyter(
    program: Program, mode: Mode, docker_runner: Runner
) -> None:
    await check(program, mode, docker_runner)


@pytest.mark.semantics
@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
@pytest.mark.parametrize("mode", MODES)
async def test_all_programs_run_in_all_modes(program: Program, mode: Mode, runner: Runner) -> None:
    await check(program, mode, runner)
