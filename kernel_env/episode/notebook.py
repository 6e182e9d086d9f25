"""Render a trajectory as a notebook, and parse it back without loss."""

import html
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from pydantic import ValidationError

from kernel_env.episode import json_codec
from kernel_env.episode.observation import cell_facts, place_words, recovery_words, submission_lines
from kernel_env.episode.step import CodeValidated, Graded, InfoShown, KernelReset, Rejected, Step
from kernel_env.episode.trajectory import ENDING, HEADER, Fork, Header, Trajectory
from kernel_env.errors import SandboxError, UsageError
from kernel_env.grading.leaderboard import human_rank
from kernel_env.kernel.cell import Cell

AGAIN = (
    "To run it again: `kernel-env replay` with this file; or by hand, with the environment"
    " variables DATA_PATH and OUTPUT_PATH set, leaving out the cells tagged `skip-execution`:"
    " what was only tried, and what broke the kernel and was undone."
)


NOTEBOOK = "trajectory.ipynb"


def write_notebook(trajectory: Trajectory, path: Path) -> None:
    """Render and replace the file in one move. Raises `SandboxError` when it cannot be written."""
    text = nbformat.writes(render(trajectory))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".trajectory-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise SandboxError(f"the notebook {path} cannot be written: {error.strerror}") from error


def render(trajectory: Trajectory) -> NotebookNode:
    """The episode as a notebook of format 4.5 that a person can read from top to bottom."""
    notebook: NotebookNode = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "kernel_env": {
                "header": HEADER.dump_python(trajectory.header, mode="json"),
                "ending": ENDING.dump_python(trajectory.ending, mode="json")
                if trajectory.ending
                else None,
            },
        }
    )
    notebook.cells = [
        markdown("task", title(trajectory.header)),
        *(cell for step in trajectory.steps for cell in step_cells(step)),
    ]
    if trajectory.ending:
        notebook.cells.append(markdown("ending", ending_words(trajectory)))
    return notebook


def markdown(name: str, text: str, **metadata: Any) -> NotebookNode:
    """A markdown cell with an id that says what it is."""
    cell: NotebookNode = nbformat.v4.new_markdown_cell(text, id=name, metadata=metadata)
    return cell


def title(header: Header) -> str:
    """The first cell: the task and who works on it."""
    who = " · ".join(
        part
        for part in (
            f"agent `{header.agent}`" if header.agent else "",
            f"model `{header.model}`" if header.model else "",
            f"seed {header.seed}",
            f"sandbox `{header.sandbox}`" + ("" if header.isolated else " (not isolated)"),
            f"image `{header.image}`",
            f"started {header.started}",
        )
        if part
    )
    origin = f"\n\n{fork_words(header.fork)}" if header.fork else ""
    return f"*An episode of kernel_env: {who}. {AGAIN}*{origin}\n\n{header.description}"


def fork_words(fork: Fork) -> str:
    """From where an episode branched, for a reader."""
    how = {
        "copy": "its kernel began as a copy of that one's",
        "replay": f"{fork.cells} cells were run again to reach that step",
    }[fork.how]
    seed = f" Its random states started anew there, from {fork.seed}." if fork.seed else ""
    lost = f" That did not give back everything: {fork.lost}." if fork.lost else ""
    return (
        f"🌿 *Branched from episode `{fork.episode}` after step {fork.step}: the steps until then"
        f" are that one's, and {how}.{seed}{lost}*"
    )


def step_cells(step: Step) -> Iterator[NotebookNode]:
    """The cells of one step: thought, action with its outputs, and what came of it."""
    name = f"step-{step.number:04d}"
    if step.thought:
        yield markdown(f"{name}-thought", step.thought, kernel_env={"thought_of": step.number})
    data = json_codec.step_data(step)
    data.pop("thought")
    if step.cell is None:
        yield markdown(name, action_words(step), kernel_env=data)
        return
    source = data["action"].pop("code")
    outputs = data["outcome"]["cell"].pop("outputs")
    tags: list[str] = [step.action.kind]
    if step.cell.error:
        tags.append("raises-exception")  # by this, Jupyter and nbclient expect the error
    if isinstance(step.outcome, CodeValidated) or step.cell.undone:
        tags.append("skip-execution")  # by this, nbclient leaves out what must not last
    yield nbformat.v4.new_code_cell(
        source,
        id=name,
        outputs=[nbformat.from_dict(output) for output in outputs],
        execution_count=step.cell.execution_count,
        metadata={"kernel_env": data, "tags": tags},
    )
    yield markdown(f"{name}-result", result_words(step, step.cell))


def action_words(step: Step) -> str:
    """A step that ran no code, for a reader."""
    match step.outcome:
        case InfoShown(text=text):
            asked = ", ".join(
                f"{k}={v!r}" for k, v in json_codec.action_json(step.action).items() if k != "kind"
            )
            fence = "`" * max(3, longest_run(text, "`") + 1)
            return (
                f"**Step {step.number}: {step.action.kind}({asked})**\n\n"
                f"<details><summary>{len(text):,} characters</summary>\n\n"
                f"{fence}\n{text}\n{fence}\n\n</details>"
            )
        case KernelReset():
            return f"**Step {step.number}: reset** — a fresh kernel, an empty workspace"
    return ""


def longest_run(text: str, character: str) -> int:
    """The length of the longest run of one character."""
    longest = run = 0
    for c in text:
        run = run + 1 if c == character else 0
        longest = max(longest, run)
    return longest


def result_words(step: Step, cell: Cell) -> str:
    """Under a code cell: what the agent was told of it, the grade and the reward."""
    facts = [f"step {step.number}", step.action.kind, *cell_facts(cell)]
    lines = [f"<sub>{html.escape(' · '.join(facts))}</sub>"]
    if isinstance(step.outcome, CodeValidated):
        lines.append(f"*Only tried: nothing of this cell lasts. {step.outcome.note}*")
    match step.submission:
        case Graded():
            lines.append(f"✅ **{submission_lines(step.submission)[0]}**")
        case Rejected():
            lines.append(f"⛔ **{submission_lines(step.submission)[0]}**")
    if step.submission is not None:
        lines.append(f"Reward {step.reward:.4g}: {step.reward_reason}.")
    if cell.timed_out:
        lines.append(f"⏱ Time was up after {cell.seconds:.1f} s.")
    if cell.recovery:
        lines.append(f"🛟 **Kernel restored:** {recovery_words(cell.recovery)}")
    if step.state_lost:
        lines.append(f"💥 **State lost:** {step.state_lost}.")
    if cell.late:
        lines.append("Earlier threads or programs printed meanwhile (see the cell's metadata).")
    return "\n\n".join(lines)


def ending_words(trajectory: Trajectory) -> str:
    """The last cell: how it went."""
    ending = trajectory.ending
    assert ending is not None
    reason = ending.reason[:1].upper() + ending.reason[1:]
    spent = f"{ending.spent.steps} steps, {ending.spent.seconds:.0f} s"
    lines = [f"## How it ended\n\n{reason} ({ending.status}; {spent})."]
    if ending.missing:
        lines.append(f"⚠ On this machine, {ending.missing}.")
    if ending.grade is None:
        return "\n\n".join([*lines, "No submission was graded."])
    grade, kind = ending.grade, trajectory.header.leaderboard_kind
    rows = [("public", grade.public_score, grade.public)]
    if grade.private_score is not None:
        rows.append(("private", grade.private_score, grade.private))
    table = [
        f"| board | {trajectory.header.metric} | place among {kind} entries |",
        "|---|---|---|",
    ]
    table += [
        f"| {board} | {score:.6g} | {place_words(place) if place else '–'} |"
        for board, score, place in rows
    ]
    lines += [f"The submission of step {ending.chosen_step} counts.", "\n".join(table)]
    rank = human_rank(grade.public, grade.private)
    if kind == "human" and rank is not None:
        lines.append(f"Human rank, as MLE-Dojo computes it: {rank:.4f}.")
    return "\n\n".join(lines)


def parse_notebook(notebook: NotebookNode) -> Trajectory:
    """The trajectory that a notebook of ours holds. Raises `UsageError` for any other notebook."""
    try:
        told = notebook.metadata["kernel_env"]
        steps: list[Step] = []
        thought = ""
        for cell in notebook.cells:
            data = cell.metadata.get("kernel_env")
            if data is None:
                continue
            if "thought_of" in data:
                thought = cell.source
                continue
            steps.append(replace(parse_cell(cell, json.loads(json.dumps(data))), thought=thought))
            thought = ""
        return Trajectory(
            header=HEADER.validate_python(told["header"]),
            steps=tuple(steps),
            ending=ENDING.validate_python(told["ending"]) if told["ending"] else None,
        )
    except (KeyError, AttributeError, ValidationError) as error:
        raise UsageError(f"this notebook is no trajectory of kernel_env: {error}") from error


def parse_cell(cell: NotebookNode, data: dict[str, Any]) -> Step:
    """One step out of its cell: the metadata, with code and outputs put back."""
    if cell.cell_type == "code":
        data["action"]["code"] = cell.source
        data["outcome"]["cell"]["outputs"] = json.loads(json.dumps(cell.outputs))
    return json_codec.parse_step(data)


def read_notebook(path: Path) -> NotebookNode:
    """Any notebook from a file. Raises `UsageError` when it is none."""
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise UsageError(f"{path} is not a notebook: {error}") from error
    return notebook
