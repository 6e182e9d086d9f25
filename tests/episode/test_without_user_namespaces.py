"""Without user namespaces, as in the containers of most CI services, an episode says what it lacks.

`tests/next_release.py` runs this inside a container; elsewhere it is usually skipped.
"""

import subprocess
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode, ValidateCode
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning
from support.kernels import cell_text


@pytest.fixture
def no_user_namespaces() -> None:
    """Skip where a process can enter a user namespace of its own."""
    entered = subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False)
    if entered.returncode == 0:
        pytest.skip("needs a system without user namespaces")


async def execute(episode: Episode, code: str) -> str:
    """Run a cell and return its text."""
    step = await episode.act(ExecuteCode(code=code))
    assert step.cell is not None
    return cell_text(step.cell)


async def test_an_episode_works_and_says_what_it_lacks(
    tiny: str, tmp_path: Path, no_user_namespaces: None
) -> None:
    with pytest.warns(LimitedKernelWarning, match="files of their own"):  # noqa: PT031
        async with open_episode(tiny, sandbox="local", out=tmp_path / "runs") as episode:
            await execute(episode, "import os; x = 41; f = open('f', 'w').write('kept')")
            trial = await episode.act(ValidateCode(code="x += 1; os.remove('f'); x"))
            crashed = await episode.act(ExecuteCode(code="os.remove('f'); os._exit(7)"))
            after = await execute(episode, "print(x, open('f').read())")
            (child,) = await episode.fork()
            async with child:
                in_child = await execute(child, "print(x + 1, open('f').read())")

    assert trial.cell is not None
    assert cell_text(trial.cell) == "42"
    assert crashed.cell is not None
    assert crashed.cell.recovery is not None
    assert crashed.cell.recovery.how == "standby"
    assert after == "41 kept\n"
    assert in_child == "42 kept\n"
    assert child.setup.header.fork is not None
    assert child.setup.header.fork.how == "replay"
    assert episode.result is not None
    assert "validate_code pauses everything else" in episode.result.missing
