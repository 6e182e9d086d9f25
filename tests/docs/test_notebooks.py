"""The tutorials run from top to bottom in a fresh kernel, and what they promise is there."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.step import Graded, Rejected

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A tutorial after its last cell."""

    notebook: NotebookNode
    folder: Path
    """Where it ran, and where its own runs are."""

    def outputs(self, cell_id: str) -> list[NotebookNode]:
        return next(cell.outputs for cell in self.notebook.cells if cell.id == cell_id)

    def printed(self, cell_id: str) -> str:
        return "".join(output.get("text", "") for output in self.outputs(cell_id))


Execute = Callable[[str, str], Executed]


@pytest.fixture(scope="module")
def execute(tmp_path_factory: pytest.TempPathFactory) -> Execute:
    """Runs a tutorial in a sandbox; the second time it is asked for, it remembers."""

    @functools.cache
    def run(name: str, sandbox: str) -> Executed:
        notebook = read(name)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = f"SANDBOX = {sandbox!r}"
        folder = tmp_path_factory.mktemp(f"{name}-{sandbox}")
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            startup_timeout=TIMEOUT_S,
            resources={"metadata": {"path": str(folder)}},
        )
        asyncio.run(asyncio.wait_for(client.async_execute(), 2 * TIMEOUT_S))
        return Executed(notebook=notebook, folder=folder)

    return run


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_is_stored_valid_and_without_outputs(name: str) -> None:
    notebook = read(name)

    cells = code_cells(notebook)

    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs_from_top_to_bottom(name: str, sandbox: str, execute: Execute) -> None:
    executed = execute(name, sandbox)

    cells = code_cells(executed.notebook)
    complaints = [
        (cell.id, output)
        for cell in cells
        for output in cell.outputs
        if output.output_type == "error"
        or (output.get("name") == "stderr" and "NOTHING IS ISOLATED" not in output.text)
    ]

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert complaints == []


def test_the_first_episode_shows_a_state_an_error_and_a_picture(
    sandbox: str, execute: Execute
) -> None:
    executed = execute("01_first_episode", sandbox)

    (elsewhere,) = executed.outputs("two-kernels-shown")
    (plot,) = executed.outputs("plot-shown")

    assert "Doctorate" in executed.printed("state")
    assert elsewhere.data["text/plain"] == "False"
    assert "NameError: name 'weelth' is not defined" in executed.printed("error")
    assert "24.8% earn more" in executed.printed("after-error-shown")
    assert executed.printed("validate-after").startswith("(False, np.float64(0.24")
    assert "image/png" in plot.data


def test_the_first_episode_is_graded_refused_and_graded_better(
    sandbox: str, execute: Execute
) -> None:
    executed = execute("01_first_episode", sandbox)

    (path,) = executed.folder.glob("runs/adult-income/*/trajectory.ipynb")
    trajectory = parse_notebook(nbformat.read(path, as_version=4))
    submissions = [step.submission for step in trajectory.steps if step.submission]
    first, refused, better = submissions

    assert isinstance(first, Graded)
    assert isinstance(refused, Rejected)
    assert isinstance(better, Graded)
    assert "unexpected: salary" in refused.reason
    assert better.grade.public_score > first.grade.public_score + 0.05
    assert [step.reward > 0 for step in trajectory.steps if step.submission] == [True, False, True]
    assert trajectory.ending is not None
    assert trajectory.ending.status == "finished"
    assert trajectory.ending.grade is not None
    assert trajectory.ending.grade.private_score is not None


def test_the_first_episode_leaves_a_valid_trajectory_that_equals_its_journal(
    sandbox: str, execute: Execute
) -> None:
    executed = execute("01_first_episode", sandbox)

    (path,) = executed.folder.glob("runs/adult-income/*/trajectory.ipynb")
    saved = nbformat.read(path, as_version=4)
    journal = read_journal(path.with_name("journal.jsonl"))

    nbformat.validate(saved)
    assert parse_notebook(saved) == replace(journal, steps=tuple(journal.steps))


def test_what_is_broken_and_branched_loses_nothing(sandbox: str, execute: Execute) -> None:
    executed = execute("02_break_it_branch_it", sandbox)

    kept = "(42, 20367, 'do not lose me')"
    (children,) = executed.outputs("fork")
    (drawn,) = executed.outputs("seeds")
    (back,) = executed.outputs("back")

    assert "KERNEL RESTORED: the kernel exited with code 7" in executed.printed("exit")
    assert "KERNEL RESTORED: the kernel was ended by SIGSEGV" in executed.printed("crash")
    assert "ignored the interrupt" in executed.printed("endless")
    assert kept in executed.printed("after-exit")
    assert kept in executed.printed("after-all")
    assert "('changed', [])" in executed.printed("tried")
    assert "The trial kernel crashed" in executed.printed("tried-crash")
    assert "(41, ['notes.txt'])" in executed.printed("after-tried")
    assert children.data["text/plain"] == "['41', '42', '43']"
    (_, same, one), (_, again, other) = map(str.split, drawn.data["text/plain"].split("\n")[1:])
    assert same == again
    assert len({same, one, other}) == 3
    assert back.data["text/plain"] == "\"(['notes.txt'], 41)\""
    assert "(41, ['notes.txt'])" in executed.printed("parent-state")
    assert "Forked from episode" in executed.printed("origin")
