"""Where kernels cannot be forked, or forks cannot have own files, episodes are slower and say so."""

import shutil
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode, ValidateCode
from kernel_env.kernel.connection.launch import PROGRAM_FOLDER
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning
from support.files import replace_text
from support.kernels import cell_text


@pytest.fixture
def unsupported_ipykernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the kernel's program require a private name that the installed ipykernel lacks."""
    program = Path(shutil.copytree(PROGRAM_FOLDER, tmp_path / "guest"))
    replace_text(
        program / "private_names.py",
        "FORKING = [",
        'FORKING = [PrivateName("asyncio", "_gone", "test"),',
    )
    tmp_path.chmod(0o755)
    monkeypatch.setattr("kernel_env.episode.setup.PROGRAM_FOLDER", program)


async def execute(episode: Episode, code: str) -> str:
    """Run a cell and return its text."""
    step = await episode.act(ExecuteCode(code=code))
    assert step.cell is not None
    return cell_text(step.cell)


async def test_an_unsupported_ipykernel_runs_plain_kernels_and_warns_once(
    tiny: str, sandbox: str, tmp_path: Path, unsupported_ipykernel: None
) -> None:
    missing = "asyncio._gone, which is needed to test"
    with pytest.warns(LimitedKernelWarning, match=missing) as warned:  # noqa: PT031
        async with open_episode(tiny, sandbox=sandbox, out=tmp_path / "runs") as episode:
            assert await execute(episode, "x = 41; open('f', 'w').write('kept'); x") == "41"
            trial = await episode.act(ValidateCode(code="print(open('f').read()); x"))

    assert [warning.category for warning in warned].count(LimitedKernelWarning) == 1
    assert trial.cell is not None
    assert trial.cell.error is not None
    assert trial.cell.error.name == "NameError"
    assert trial.cell.outputs[0]["text"] == "kept\n"
    assert "variables of the running kernel are undefined" in episode.observation.text
    assert episode.result is not None
    assert "forking is unavailable" in episode.result.missing
    assert "forking is unavailable" in episode.notebook.read_text()


@pytest.mark.filterwarnings("ignore::kernel_env.kernel.forking.fork_server.LimitedKernelWarning")
async def test_a_plain_kernel_that_crashes_is_restored_by_a_replay(
    tiny: str, tmp_path: Path, unsupported_ipykernel: None
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path / "runs") as episode:
        await execute(episode, "import random; x = 41; open('f', 'w').write('kept')")

        crashed = await episode.act(ExecuteCode(code="import os; os._exit(7)"))
        after = await execute(episode, "print(x + 1, open('f').read())")
        (child,) = await episode.fork()
        async with child:
            in_child = await execute(child, "print(x + 2, open('f').read())")

    assert crashed.cell is not None
    assert crashed.cell.recovery is not None
    assert (crashed.cell.recovery.how, crashed.cell.recovery.cells) == ("replay", 1)
    assert crashed.cell.state_lost is None
    assert after == "42 kept\n"
    assert in_child == "43 kept\n"
    assert child.setup.header.fork is not None
    assert child.setup.header.fork.how == "replay"


async def test_without_branching_a_trial_pauses_everything_else_and_is_undone(
    tiny: str, sandbox: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path, branching=False) as episode:
        await execute(
            episode,
            "import threading, time, subprocess; x = 41; n = 0\n"
            "log = open('log', 'w'); log.write('one '); log.flush()\n"
            "def count():\n    global n\n    while True: n += 1; time.sleep(0.01)\n"
            "threading.Thread(target=count, daemon=True).start()\n"
            "child = subprocess.Popen(['sleep', '600'])",
        )

        trial = await episode.act(
            ValidateCode(
                code="log.write('BAD'); log.flush(); open('g', 'w'); x = 0; x, open('log').read()"
            )
        )
        crashed = await episode.act(ValidateCode(code="import os; os._exit(3)"))
        after = await execute(
            episode,
            "import os; before = n; time.sleep(0.1); log.write('two'); log.flush()\n"
            "print(x, n > before, child.poll(), open('log').read(), sorted(os.listdir()))",
        )

    assert trial.cell is not None
    assert trial.cell.outputs[0]["data"]["text/plain"] == "(0, 'one BAD')"
    assert crashed.cell is not None
    assert crashed.cell.broke == "the kernel exited with code 3"
    assert after == "41 True None one two ['log']\n"
    assert episode.result is not None
    assert episode.result.restored == 0
    assert sandbox == "local" or episode.result.missing == ""


@pytest.mark.docker
async def test_without_branching_a_fork_replays_the_cells_in_a_new_container(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path, branching=False) as episode:
        await execute(episode, "import random; x = [random.random()]; open('f', 'w').write('kept')")

        (child,) = await episode.fork()
        async with child:
            await execute(child, "y = 1; open('f', 'w').write('child')")
            in_child = await execute(child, "print(x, open('f').read())")
        in_parent = await execute(episode, "print(x, open('f').read(), 'y' in dir())")

    assert in_parent.split("]")[0] == in_child.split("]")[0]
    assert in_child.endswith("] child\n")
    assert in_parent.endswith("] kept False\n")
