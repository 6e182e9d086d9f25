"""Where kernels cannot be copied, or copies cannot have files of their own: slower, and said."""

import shutil
from pathlib import Path

import pytest

from kernel_env.episode.actions import ExecuteCode, ValidateCode
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.kernel.connection.launch import PROGRAM_FOLDER
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning


@pytest.fixture
def unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel's program that was made for another ipykernel than the one that is there."""
    program = Path(shutil.copytree(PROGRAM_FOLDER, tmp_path / "guest"))
    template = program / "template.py"
    template.write_text(template.read_text().replace('SUPPORTED_IPYKERNEL = "7.4."', 'SUPPORTED_IPYKERNEL = "9.9."'))
    tmp_path.chmod(0o755)
    monkeypatch.setattr("kernel_env.episode.config.PROGRAM_FOLDER", program)


async def text(episode: Episode, code: str) -> str:
    step = await episode.act(ExecuteCode(code=code))
    assert step.cell is not None
    return "".join(o.get("text") or o["data"]["text/plain"] for o in step.cell.outputs)


async def test_an_unsupported_ipykernel_runs_plain_kernels_and_it_is_said_once(
    tiny: str, sandbox: str, tmp_path: Path, unsupported: None
) -> None:
    with pytest.warns(LimitedKernelWarning, match="forking needs") as said:  # noqa: PT031
        async with open_episode(tiny, sandbox=sandbox, out=tmp_path / "runs") as episode:
            assert await text(episode, "x = 41; open('f', 'w').write('kept'); x") == "41"
            tried = await episode.act(ValidateCode(code="print(open('f').read()); x"))

    assert [one.category for one in said].count(LimitedKernelWarning) == 1
    assert tried.cell is not None
    assert tried.cell.error is not None
    assert tried.cell.error.name == "NameError"
    assert tried.cell.outputs[0]["text"] == "kept\n"
    assert "variables of the running kernel are undefined" in episode.observation.text
    assert episode.record is not None
    assert "forking is unavailable" in episode.record.missing
    assert "forking is unavailable" in episode.notebook.read_text()


@pytest.mark.filterwarnings("ignore::kernel_env.kernel.forking.fork_server.LimitedKernelWarning")
async def test_a_plain_kernel_that_breaks_is_put_back_by_running_its_cells_again(
    tiny: str, tmp_path: Path, unsupported: None
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path / "runs") as episode:
        await text(episode, "import random; x = 41; open('f', 'w').write('kept')")

        step = await episode.act(ExecuteCode(code="import os; os._exit(7)"))
        after = await text(episode, "print(x + 1, open('f').read())")
        (child,) = await episode.fork()
        async with child:
            there = await text(child, "print(x + 2, open('f').read())")

    assert step.cell is not None
    assert step.cell.recovery is not None
    assert (step.cell.recovery.how, step.cell.recovery.cells) == ("replay", 1)
    assert step.cell.state_lost is None
    assert after == "42 kept\n"
    assert there == "43 kept\n"
    assert child.rules.header.fork is not None
    assert child.rules.header.fork.how == "replay"


async def test_without_branching_a_trial_holds_everything_else_still_and_leaves_nothing(
    tiny: str, sandbox: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path, branching=False) as episode:
        await text(
            episode,
            "import threading, time, subprocess; x = 41; n = 0\n"
            "log = open('log', 'w'); log.write('one '); log.flush()\n"
            "def count():\n    global n\n    while True: n += 1; time.sleep(0.01)\n"
            "threading.Thread(target=count, daemon=True).start()\n"
            "child = subprocess.Popen(['sleep', '600'])",
        )

        tried = await episode.act(
            ValidateCode(
                code="log.write('BAD'); log.flush(); open('g', 'w'); x = 0; x, open('log').read()"
            )
        )
        ended = await episode.act(ValidateCode(code="import os; os._exit(3)"))
        after = await text(
            episode,
            "import os; before = n; time.sleep(0.1); log.write('two'); log.flush()\n"
            "print(x, n > before, child.poll(), open('log').read(), sorted(os.listdir()))",
        )

    assert tried.cell is not None
    assert tried.cell.outputs[0]["data"]["text/plain"] == "(0, 'one BAD')"
    assert ended.cell is not None
    assert ended.cell.broke == "the kernel exited with code 3"
    assert after == "41 True None one two ['log']\n"
    assert episode.record is not None
    assert episode.record.restored == 0
    assert sandbox == "local" or episode.record.missing == ""


@pytest.mark.docker
async def test_without_branching_a_fork_runs_the_cells_again_in_a_container_of_its_own(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path, branching=False) as episode:
        await text(episode, "import random; x = [random.random()]; open('f', 'w').write('kept')")

        (child,) = await episode.fork()
        async with child:
            await text(child, "y = 1; open('f', 'w').write('child')")
            theirs = await text(child, "print(x, open('f').read())")
        mine = await text(episode, "print(x, open('f').read(), 'y' in dir())")

    assert mine.split("]")[0] == theirs.split("]")[0]
    assert theirs.endswith("] child\n")
    assert mine.endswith("] kept False\n")
