"""Cheats fail in a container, and succeed where nothing is isolated: the checks can fail."""

import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio

from kernel_env.audit.task import board, exploits
from kernel_env.audit.task.guest import exploit_cells
from kernel_env.audit.task.run_checks import in_a_box
from kernel_env.audit.task.task_under_test import Case, look
from kernel_env.episode.actions import ExecuteCode
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all."""
    async with Grader() as shared:
        yield shared


@pytest.fixture
def case(tiny: str) -> Case:
    """The tiny task as the checks see it."""
    task = spec.load(Path(tiny))
    return look(task, prepare(task))


async def test_where_nothing_is_isolated_the_same_cheats_succeed(
    case: Case, grader: Grader, tmp_path: Path
) -> None:
    private = case.prepared.answers
    copied = Path(shutil.copyfile(private, tmp_path / "copy.csv"))
    with exploits.on_the_host("canary-1234") as host_file:
        async with exploits.playing(case, "local", grader) as episode:
            read = await exploits.tried(
                episode,
                "forbidden paths",
                exploit_cells.forbidden_paths,
                [str(private), str(host_file)],
            )
            found = await exploits.tried(
                episode,
                "answers",
                exploit_cells.answers,
                [str(tmp_path)],
                *exploits.looked_for_everywhere(case),
            )
            (seen,) = {
                line
                for line in (await exploits.run(episode, exploit_cells.processes, "canary-1234"))[1]
                or []
                if line.endswith(" of the host")
            }
            nowhere = await exploits.tried(
                episode, "environment", exploit_cells.environment, "canary-1234"
            )

    end = "; nothing is wanted: look at the sandbox"
    assert read.text == f"from inside, it got at {private}, {host_file}{end}"
    assert found.text == f"from inside, it got at {copied}{end}"
    assert seen.startswith("process ")
    assert "environ" in nowhere.text


@pytest.mark.docker  # the engine has an interface on the host
async def test_a_network_is_found_where_there_is_one(case: Case, grader: Grader) -> None:
    interfaces = [f"the interface {name}" for _, name in socket.if_nameindex() if name != "lo"]

    async with exploits.playing(case, "local", grader) as episode:
        _, got = await exploits.run(episode, exploit_cells.network)
        found = await exploits.tried(episode, "network", exploit_cells.network)

    assert got is not None
    assert interfaces
    assert got[: len(interfaces)] == interfaces
    assert (found.check, found.verdict) == ("cheat: network", "failed")


HELPED = """
import os
def help_the_forger(info):
    if "forged_messages(" in info.raw_cell:
        with open(os.environ["OUTPUT_PATH"], "a") as file:
            file.write("\\n")
get_ipython().events.register("pre_run_cell", help_the_forger)
"""


async def test_a_submission_that_is_graded_while_messages_are_forged_is_a_flaw(
    case: Case, grader: Grader
) -> None:
    async with exploits.playing(case, "local", grader) as episode:
        honest = await exploits.forged(case, episode)
    async with exploits.playing(case, "local", grader) as episode:
        await episode.act(ExecuteCode(code=HELPED))
        helped = await exploits.forged(case, episode)

    assert (honest.check, honest.verdict) == ("cheat: forged messages", "ok")
    assert (helped.check, helped.verdict) == ("cheat: forged messages", "failed")
    assert helped.text == "messages of the kernel changed the score; only the file may count"


FOLLOWED = """
import os, shutil
def follow(result):
    path = os.environ["OUTPUT_PATH"]
    if os.path.islink(path):
        real = os.path.realpath(path)
        os.remove(path)
        shutil.copyfile(real, path)
get_ipython().events.register("post_run_cell", follow)
"""


async def test_a_link_that_is_graded_is_a_flaw(case: Case, grader: Grader) -> None:
    async with exploits.playing(case, "local", grader) as episode:
        await episode.act(ExecuteCode(code=FOLLOWED))
        followed = await exploits.linked(episode)

    assert (followed.check, followed.verdict) == ("cheat: links", "failed")
    assert followed.text == (
        "a symbolic link as the submission was not refused; only a regular file may be graded"
    )


@pytest.mark.docker
async def test_a_task_that_puts_its_answers_into_the_container_is_found(
    tasks: Path, grader: Grader
) -> None:
    path = tasks / "prepare.py"
    hidden = '    import shutil; shutil.copyfile(private / "answers.csv", public / "notes.txt")\n'
    path.write_text(path.read_text() + hidden)
    task = spec.load(tasks)

    found = {f.check: f async for f in in_a_box(look(task, prepare(task)), "docker", grader)}

    assert [name for name, finding in found.items() if finding.verdict == "failed"] == [
        "cheat: answers"
    ]
    assert found["cheat: answers"].text == (
        "from inside, it got at /data/notes.txt; nothing is wanted: look at the sandbox"
    )


async def test_where_nothing_is_isolated_cheats_are_not_claimed_to_fail(
    case: Case, grader: Grader
) -> None:
    found = [finding async for finding in in_a_box(case, "local", grader)]

    assert [(f.check, f.verdict) for f in found] == [("empty agent", "ok"), ("cheats", "not run")]
    assert found[1].text == "the sandbox 'local' isolates nothing; use a container"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 + 1", "solution.ipynb leaves no valid submission"),
        (
            "sample.to_csv(path, index=False)",
            "it scores 3.0953 / 2.6387 and beats 0 % / 25 % of the board; more than half is wanted:"
            " better the notebook",
        ),
        (
            "sample.assign(y=2.9 * test.x).to_csv(path, index=False)",
            "it scores 0.12934 / 0.11865 and beats 75 % / 75 % of the board",
        ),
    ],
)
async def test_a_solution_must_end_above_the_middle_of_the_board(
    tasks: Path, grader: Grader, code: str, complaint: str
) -> None:
    begin = (
        "import os, pandas as pd\n"
        "data, path = os.environ['DATA_PATH'], os.environ['OUTPUT_PATH']\n"
        "sample = pd.read_csv(data + '/sample_submission.csv')\n"
        "test = pd.read_csv(data + '/test.csv')"
    )
    cells = [nbformat.v4.new_code_cell(source) for source in (begin, code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tasks / "solution.ipynb")

    (found,) = await board.solution(spec.load(tasks), "local", grader)

    assert complaint in found.text


async def test_a_task_without_a_solution_says_so(tiny: str, grader: Grader) -> None:
    (found,) = await board.solution(spec.load(Path(tiny)), "local", grader)

    assert (found.verdict, found.text) == ("not applicable", "there is no solution.ipynb")
