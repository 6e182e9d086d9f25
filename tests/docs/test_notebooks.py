"""The tutorials run from top to bottom in a fresh kernel, and what they promise is there."""

import asyncio
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.step import Graded, Rejected

FOLDER = Path(__file__).parents[2] / "notebooks"
STORED = ("10_train_a_tiny_model",)
"""Those with stored outputs, which need a framework: `tests/frameworks` runs them."""
NAMES = sorted({path.stem for path in FOLDER.glob("*.ipynb")} - {*STORED})
BY_DEFAULT = ("01_first_episode", "02_break_it_branch_it")
"""Those that run by default, in containers; with `make test-slow`, all do, in both sandboxes."""
RUNS = [
    pytest.param(
        name,
        sandbox,
        marks=[
            *([pytest.mark.docker] if sandbox == "docker" else []),
            *([] if sandbox == "docker" and name in BY_DEFAULT else [pytest.mark.slow]),
        ],
    )
    for sandbox in ("docker", "local")
    for name in NAMES
]
TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A tutorial after its last cell."""

    notebook: NotebookNode
    folder: Path
    """Where it ran, and where its own runs are."""

    def outputs(self, cell_id: str) -> list[NotebookNode]:
        return next(cell.outputs for cell in self.notebook.cells if cell.id == cell_id)

    def shown(self, cell_id: str) -> str:
        """Return what a cell displays, as text."""
        return "".join(
            output.get("data", {}).get("text/plain", "") for output in self.outputs(cell_id)
        )

    def has_picture(self, cell_id: str) -> bool:
        return any("image/png" in output.get("data", {}) for output in self.outputs(cell_id))

    def printed(self, cell_id: str) -> str:
        printed = [out for out in self.outputs(cell_id) if out.get("name") == "stdout"]
        return "".join(output.text for output in printed)


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


@pytest.mark.parametrize(("name", "sandbox"), RUNS, indirect=["sandbox"])
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


@pytest.mark.slow
def test_your_own_agent_submits_only_what_is_better(execute: Execute) -> None:
    executed = execute("03_your_own_agent", "local")

    (path,) = (
        found
        for found in executed.folder.glob("runs/ames-housing/*/journal.jsonl")
        if read_journal(found).header.agent == "ideas.py:TryIdeas"
    )
    steps = read_journal(path).steps
    scores = [step.submission.grade.public_score for step in steps if step.submission]
    failed = [step.thought for step in steps if step.cell and step.cell.error]

    assert "the budget of 3 steps is used up" in executed.shown("by-hand-over")
    assert failed == ["Measure: linear, all columns"]
    assert "Measure: one small tree" in [step.thought for step in steps]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert executed.has_picture("honest-shown")
    assert "no action of kind 'run_python'" in executed.printed("model-run")
    assert "public score" in executed.printed("model-run")


@pytest.mark.slow
def test_the_checks_find_both_leaks_of_the_new_task(execute: Execute) -> None:
    executed = execute("04_write_a_task", "local")

    leaky, honest = eval(executed.shown("solve-run")).values()

    assert "the column 'member' determines 'left'" in executed.shown("check-defined")
    assert "the column 'closing_fee' determines 'left'" in executed.shown("group")
    assert "failed" not in executed.shown("honest")
    assert leaky > 0.99
    assert 0.55 < honest < 0.9
    assert executed.has_picture("truth-shown")


@pytest.mark.slow
def test_three_searches_have_the_same_number_of_tries_and_a_tree(execute: Execute) -> None:
    executed = execute("05_search_over_branches", "local")

    journals = executed.folder.glob("runs/image-segment/*/journal.jsonl")
    forks = [header for path in journals if (header := read_journal(path).header).fork]
    page = (executed.folder / "tree.html").read_text()

    assert len(forks) == 3 * 9 + 1
    assert {header.fork.how for header in forks if header.fork} == {"copy"}
    assert all(header.episode in page for header in forks)
    assert executed.has_picture("found-plot")
    assert executed.has_picture("curse-shown")
    assert "srcdoc" in executed.outputs("end")[-1].data["text/html"]


@pytest.mark.slow
def test_each_forgery_is_found_by_another_means(execute: Execute) -> None:
    executed = execute("06_read_and_verify", "local")

    assert executed.printed("verify-it").split("\n")[0].startswith("REPRODUCED")
    assert "'duration': 1" in executed.printed("verify-it")
    assert "TAMPERED – " in executed.printed("forge-one-done")
    assert "DRIFTED – step 5" in executed.printed("forge-two-done")
    assert "the score follows: False" in executed.printed("forge-two-done")
    assert executed.printed("forge-three-done").startswith("thief 0.9")
    assert executed.printed("forge-three-done").endswith("None\n")
    assert "signed.ipynb – ['made on" in executed.printed("signed")
    assert "forged.ipynb – not signed" in executed.printed("signed")


@pytest.mark.slow
def test_intervals_tell_what_two_agents_are_worth(execute: Execute) -> None:
    executed = execute("07_compare_two_agents", "local")

    lines = executed.shown("bootstrap-shown").splitlines()[1:]
    low, high = {}, {}
    for name, _, *ends in (line.rsplit(maxsplit=3) for line in lines):
        low[name.strip()], high[name.strip()] = map(float, ends)

    assert len(list(executed.folder.glob("runs/image-segment/*"))) == 3 * 8 + 1
    assert low["many − few, private"] > 0
    assert low["many − many again, private"] < 0 < high["many − many again, private"]
    assert executed.has_picture("look-shown")


@pytest.mark.slow
def test_what_is_exported_is_what_the_agent_saw_each_step_once(execute: Execute) -> None:
    executed = execute("08_export_for_training", "local")

    def read_lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (executed.folder / name).read_text().splitlines()]

    names = ("good/train.jsonl", "transitions/train.jsonl", "groups.jsonl")
    kept, rows, groups = map(read_lines, names)
    advantages = pd.DataFrame(groups).groupby("group")["advantage"]

    assert executed.printed("conversation-defined").startswith("True")
    assert len(kept) == 2
    assert all(row["completion"][-1]["role"] == "tool" for row in kept)
    assert len(rows) == 11
    assert sum(row["failed"] for row in rows) == 2
    assert list(advantages.size()) == [5, 5]
    assert advantages.mean().abs().max() < 1e-6
    assert [
        group["advantage"] > 0
        for group in groups
        if "full tree" in group["completion"][0]["content"]
    ] == [True, False]
    assert executed.has_picture("groups-done")


@pytest.mark.slow
def test_a_person_plays_and_helps_and_is_named(execute: Execute) -> None:
    executed = execute("09_play_and_take_over", "local")

    played, helped = sorted(
        map(read_journal, executed.folder.glob("runs/parking-occupancy/*/journal.jsonl")),
        key=lambda found: found.header.started,
    )

    assert "12 steps" in executed.printed("play-opened")
    assert executed.has_picture("play-plot")
    assert "Submission graded: public score 0.047" in executed.printed("play-submit")
    assert played.header.agent == "human"
    assert [step.actor for step in played.steps] == ["agent"] * 4
    assert "a person took 2 steps in your kernel" in executed.printed("agent-continued")
    assert [step.actor for step in helped.steps] == ["agent", "agent", "human", "human", "agent"]
    assert [step.spent.steps for step in helped.steps] == [1, 2, 2, 2, 3]
    assert executed.has_picture("compare")
