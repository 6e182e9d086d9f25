"""Render a trajectory as a notebook, and parse it back without loss."""

import html
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kernel_env.episode import json_codec
from kernel_env.episode.observation import (
    cell_facts,
    describe_place,
    describe_recovery,
    remarks,
    submission_lines,
)
from kernel_env.episode.step import CodeValidated, Graded, InfoShown, KernelReset, Rejected, Step
from kernel_env.episode.trajectory import ENDING, HEADER, Fork, Header, Trajectory
from kernel_env.errors import SandboxError
from kernel_env.grading.leaderboard import human_rank
from kernel_env.kernel.cell import Cell

HOW_TO_REPLAY = (
    "To run it again: `kernel-env replay` with this file; or by hand, with the environment"
    " variables DATA_PATH and OUTPUT_PATH set, without the cells tagged `skip-execution`:"
    " trials, and cells that crashed the kernel and were undone."
)
NOTEBOOK = "trajectory.ipynb"
"""File name of an episode's notebook."""


def write_notebook(trajectory: Trajectory, path: Path) -> None:
    """Render the notebook and replace the file atomically. Raises `SandboxError`."""
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
    """Return the episode as a notebook of format 4.5."""
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
        notebook.cells.append(markdown("ending", describe_ending(trajectory)))
    return notebook


def markdown(name: str, text: str, **metadata: Any) -> NotebookNode:
    """Return a Markdown cell; its ID names its content."""
    cell: NotebookNode = nbformat.v4.new_markdown_cell(text, id=name, metadata=metadata)
    return cell


def title(header: Header) -> str:
    """Return the text of the first cell: task, agent, sandbox."""
    facts = " · ".join(
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
    origin = f"\n\n{describe_fork(header.fork)}" if header.fork else ""
    return f"*An episode of kernel_env: {facts}. {HOW_TO_REPLAY}*{origin}\n\n{header.description}"


def describe_fork(fork: Fork) -> str:
    """Describe where an episode was forked from."""
    how = {
        "copy": "its kernel was forked from that one",
        "replay": f"{fork.cells} cells were replayed to reach that step",
    }[fork.how]
    seed = f" Its random states start from {fork.seed} there." if fork.seed else ""
    lost = f" The replay did not reproduce everything: {fork.lost}." if fork.lost else ""
    return (
        f"🌿 *Forked from episode `{fork.episode}` after step {fork.step}: earlier steps belong to"
        f" both, and {how}.{seed}{lost}*"
    )


def step_cells(step: Step) -> Iterator[NotebookNode]:
    """Yield the cells of one step: thought, action with outputs, and result."""
    name = f"step-{step.number:04d}"
    if step.thought:
        yield markdown(f"{name}-thought", step.thought, kernel_env={"thought_of": step.number})
    data = json_codec.step_data(step)
    data.pop("thought")
    if step.cell is None:
        yield markdown(name, describe_action(step), kernel_env=data)
        return
    source = data["action"].pop("code")
    outputs = data["outcome"]["cell"].pop("outputs")
    tags: list[str] = [step.action.kind]
    if step.cell.error:
        tags.append(
            "raises-exception"
        )  # Jupyter and nbclient expect an error in a cell with this tag
    if isinstance(step.outcome, CodeValidated) or step.cell.undone:
        tags.append("skip-execution")  # nbclient does not run cells with this tag
    yield nbformat.v4.new_code_cell(
        source,
        id=name,
        outputs=[nbformat.from_dict(output) for output in outputs],
        execution_count=step.cell.execution_count,
        metadata={"kernel_env": data, "tags": tags},
    )
    yield markdown(f"{name}-result", describe_result(step, step.cell))


def describe_action(step: Step) -> str:
    """Describe a step that ran no code."""
    match step.outcome:
        case InfoShown(text=text):
            arguments = ", ".join(
                f"{k}={v!r}" for k, v in json_codec.action_json(step.action).items() if k != "kind"
            )
            fence = "`" * max(3, longest_run(text, "`") + 1)
            return (
                f"**Step {step.number}: {step.action.kind}({arguments})**\n\n"
                f"<details><summary>{len(text):,} characters</summary>\n\n"
                f"{fence}\n{text}\n{fence}\n\n</details>"
            )
        case KernelReset():
            return f"**Step {step.number}: reset** — a fresh kernel, an empty workspace"
    return ""


def longest_run(text: str, character: str) -> int:
    """Return the length of the longest run of a character."""
    longest = run = 0
    for c in text:
        run = run + 1 if c == character else 0
        longest = max(longest, run)
    return longest


def describe_result(step: Step, cell: Cell) -> str:
    """Describe the result of a code cell: changes, grade, reward, recovery."""
    facts = [f"step {step.number}", step.action.kind, *cell_facts(cell)]
    lines = [f"<sub>{html.escape(' · '.join(facts))}</sub>"]
    if isinstance(step.outcome, CodeValidated):
        lines.append(f"*Trial: all changes were discarded. {step.outcome.note}*")
    match step.submission:
        case Graded(grade=grade, shown=shown):
            place = f", {describe_place(grade.public)}" if grade.public else ""
            lines.append(f"✅ **Submission graded: public score {grade.public_score:.6g}{place}.**")
            lines += [
                html.escape(line) for line in submission_lines(step.submission)[shown == "score" :]
            ]
        case Rejected():
            lines.append(f"⛔ **{submission_lines(step.submission)[0]}**")
    if step.submission is not None:
        lines.append(f"Reward {step.reward:.4g}: {step.reward_reason}.")
    if cell.timed_out:
        lines.append(f"⏱ Time limit reached after {cell.seconds:.1f} s.")
    if cell.recovery:
        told = html.escape(describe_recovery(cell.recovery))
        lines.append(f"🛟 **Kernel restored:** {told}")
    lines += [html.escape(line) for line in remarks(cell)]
    if step.state_lost:
        lines.append(f"💥 **State lost:** {step.state_lost}.")
    if cell.late:
        lines.append("Threads or programs of earlier cells printed (see the cell's metadata).")
    return "\n\n".join(lines)


def describe_ending(trajectory: Trajectory) -> str:
    """Return the text of the last cell: how the episode ended."""
    ending = trajectory.ending
    assert ending is not None
    reason = ending.reason[:1].upper() + ending.reason[1:]
    spent = f"{ending.spent.steps} steps, {ending.spent.seconds:.0f} s"
    lines = [f"## Result\n\n{reason} ({ending.status}; {spent})."]
    if ending.missing:
        lines.append(f"⚠ On this machine, {ending.missing}.")
    if ending.grade is None:
        return "\n\n".join([*lines, "No submission was graded."])
    grade, kind = ending.grade, trajectory.header.leaderboard_kind
    rows = [("public", grade.public_score, grade.public)]
    if grade.private_score is not None:
        rows.append(("private", grade.private_score, grade.private))
    table = [
        f"| leaderboard | {trajectory.header.metric} | place among {kind} entries |",
        "|---|---|---|",
    ]
    table += [
        f"| {split} | {score:.6g} | {describe_place(place) if place else '–'} |"
        for split, score, place in rows
    ]
    lines += [f"The submission of step {ending.chosen_step} counts.", "\n".join(table)]
    rank = human_rank(grade.public, grade.private)
    if kind == "human" and rank is not None:
        lines.append(f"Human rank, as MLE-Dojo computes it: {rank:.4f}.")
    return "\n\n".join(lines)
