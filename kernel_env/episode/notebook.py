"""Render a trajectory as a notebook, and parse it back without loss.

Everything that a program reads stands in the metadata and in the code cells; the Markdown cells are
for people (`notebook_text`). Run All runs the cells whose effects lasted: trials and cells that
were undone are Markdown.
"""

import base64
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kernel_env.episode import chain, json_codec, notebook_text
from kernel_env.episode.budget import Spent
from kernel_env.episode.observation import output_text
from kernel_env.episode.step import CodeValidated, Graded, Rejected, Step
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Header, Note, Trajectory
from kernel_env.episode.visible_outputs import PICTURES, visible
from kernel_env.errors import SandboxError
from kernel_env.kernel.cell import Cell, Output, Variable
from kernel_env.untrusted_text import Markdown, clipped, fenced

NOTEBOOK = "trajectory.ipynb"
"""File name of an episode's notebook."""
PLAIN_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
OUTPUT_CHARACTERS = 20_000
"""The most characters that are shown of an output of a cell that is Markdown."""
CHART = "scores.png"
NAME = re.compile(r"[^\W\d]\w*")
LOOP = re.compile(r"\bfor\s+([^:\n]{1,100}?)\s+in\b|\bas\s+(\w+)\s*:")
"""Targets of loops and comprehensions, and the names of `with` and `except`."""
ASSIGNED = re.compile(r"^[ \t]*(\w+)[ \t]*=(?!=)", re.MULTILINE)


def write_notebook(trajectory: Trajectory, path: Path) -> None:
    """Render the notebook and replace the file atomically. Raises `SandboxError`.

    It names the sealed kernel that is installed for its task or image, if there is one.
    """
    store_notebook(render(trajectory, sealed_kernel(trajectory.header)), path)


def store_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook and replace the file atomically. Raises `SandboxError`."""
    text = nbformat.writes(notebook)
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


def sealed_kernel(header: Header) -> dict[str, str] | None:
    """Return the installed kernelspec whose kernels are sealed and suit an episode best."""
    from kernel_env.jupyter import installed_kernelspecs

    suiting: dict[bool, dict[str, str]] = {}
    for name, folder in installed_kernelspecs.installed().items():
        config = installed_kernelspecs.config_of(folder) or {}
        for_task = config.get("task") == header.task
        for_image = not config.get("task") and config.get("image") == header.image
        if config.get("sandbox", "docker") != "local" and (for_task or for_image):
            title = installed_kernelspecs.title_of(folder)
            suiting[for_task] = {"name": name, "display_name": title, "language": "python"}
    return suiting.get(True) or suiting.get(False)


def render(trajectory: Trajectory, kernelspec: Mapping[str, str] | None = None) -> NotebookNode:
    """Return the episode as a notebook of format 4.5.

    Args:
        trajectory: the episode.
        kernelspec: the kernel that Jupyter selects: its name, display name and language. Without
            it, Python 3 as it is installed with Jupyter.
    """
    digests = chain.digests_by_name(trajectory)
    thoughts: dict[str, str] = {}
    last_uses = LastUses(trajectory)
    submissions: list[tuple[int, Graded | Rejected]] = []
    cells: list[NotebookNode] = []
    spent = Spent()
    cells += note_cells(trajectory, 0, spent, digests)
    for step in trajectory.steps:
        notes = [note for note in trajectory.notes if note.after_step == step.number - 1]
        before = notes[-1].spent if notes and notes[-1].spent.tokens else spent
        cells += step_cells(step, before, digests.get(f"step {step.number}", ""), last_uses)
        cells += note_cells(trajectory, step.number, step.spent, digests)
        spent = step.spent
        if step.thought:
            thoughts[str(step.number)] = step.thought
        if step.submission and step.actor == "agent":
            submissions.append((step.number, step.submission))
    if submissions:
        text = notebook_text.submissions_text(submissions, trajectory.ending)
        cells.append(markdown("submissions", text))
    cells = [
        summary_cell(trajectory, submissions),
        markdown("task", notebook_text.task_text(trajectory.header)),
        *cells,
    ]
    ending = trajectory.ending
    metadata: dict[str, Any] = {
        "header": HEADER.dump_python(trajectory.header, mode="json"),
        "ending": ENDING.dump_python(ending, mode="json") if ending else None,
        "thoughts": thoughts,
    }
    if trajectory.digests:
        metadata["digests"] = {
            "header": digests.get("header", ""),
            "ending": digests.get("ending", ""),
            "last": trajectory.digests[-1],
            "cells": cells_digest(cells),
        }
    notebook: NotebookNode = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": dict(kernelspec or PLAIN_KERNEL),
            "language_info": {"name": "python"},
            "kernel_env": metadata,
        },
    )
    return notebook


def cells_digest(cells: list[NotebookNode]) -> str:
    """Return a digest over all that a reader of a notebook sees, in hexadecimal."""
    shown = [
        [cell.cell_type, cell.source, cell.get("outputs") or None, cell.get("attachments") or None]
        for cell in cells
    ]
    return chain.sha256(chain.canonical(shown))


def markdown(name: str, text: Markdown, **metadata: Any) -> NotebookNode:
    """Return a Markdown cell; its ID names its content."""
    cell: NotebookNode = nbformat.v4.new_markdown_cell(str(text), id=name, metadata=metadata)
    return cell


def with_digest(data: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return a cell's metadata with the digest of its entry, if it has one."""
    return {**data, "digest": digest} if digest else data


def summary_cell(
    trajectory: Trajectory, submissions: list[tuple[int, Graded | Rejected]]
) -> NotebookNode:
    """Return the first cell: the result at a glance, and the chart of scores."""
    png = chart(trajectory, submissions)
    text = notebook_text.summary(trajectory, CHART if png else None)
    cell = markdown("summary", text)
    if png:
        cell.attachments = {CHART: {"image/png": base64.b64encode(png).decode()}}
    return cell


def chart(trajectory: Trajectory, submissions: list[tuple[int, Graded | Rejected]]) -> bytes:
    """Return the chart of public scores over steps; empty if nothing was graded."""
    from kernel_env.episode.chart import Point, draw_scores

    points = [
        Point(step=number, score=submission.grade.public_score)
        for number, submission in submissions
        if isinstance(submission, Graded) and math.isfinite(submission.grade.public_score)
    ]
    if not points:
        return b""
    return draw_scores(
        points,
        steps=len(trajectory.steps),
        metric=trajectory.header.metric,
        higher_is_better=trajectory.header.higher_is_better,
        chosen_step=trajectory.ending.chosen_step if trajectory.ending else None,
    )


def note_cells(
    trajectory: Trajectory, step: int, before: Spent, digests: Mapping[str, str]
) -> Iterator[NotebookNode]:
    """Yield the notes that were made after a step; `before` is what was used until then."""
    for index, note in enumerate(trajectory.notes, 1):
        if note.after_step == step:
            yield note_cell(index, note, before, digests.get(f"note {index}", ""))
            before = note.spent if note.spent.tokens else before


def note_cell(index: int, note: Note, before: Spent, digest: str) -> NotebookNode:
    """Return the cell of a note."""
    value = NOTE.dump_python(note)
    if note.spent == Spent():  # as in notebooks of notes that had none
        del value["spent"]
    text = notebook_text.note_text(note, before)
    return markdown(f"note-{index:04d}", text, kernel_env=with_digest({"note": value}, digest))


def step_cells(
    step: Step, before: Spent, digest: str, last_uses: "LastUses"
) -> Iterator[NotebookNode]:
    """Yield the cells of one step: thought, action with outputs, and result.

    Args:
        step: the step.
        before: what the episode had used before it.
        digest: its digest in the chain.
        last_uses: tells which of its variables later cells use.
    """
    name = f"step-{step.number:04d}"
    if step.thought:
        text = notebook_text.thought_text(step)
        yield markdown(f"{name}-thought", text, kernel_env={"thought_of": step.number})
    data = with_digest(json_codec.step_data(step), digest)
    data.pop("thought")
    if step.cell is None:
        yield markdown(name, notebook_text.action_text(step, before), kernel_env=data)
        return
    code = data["action"]["code"]
    shown = visible(step.cell.outputs)
    if isinstance(step.outcome, CodeValidated) or step.cell.undone:
        yield text_cell(name, step, code, shown, data)
    else:
        yield code_cell(name, step.cell, shown, data)
    lasting = last_uses.lasting(step.number, code, step.cell.variables)
    yield markdown(f"{name}-result", notebook_text.result_text(step, step.cell, before, lasting))


def code_cell(name: str, cell: Cell, shown: list[Output], data: dict[str, Any]) -> NotebookNode:
    """Return a cell that ran, as code with its outputs; `data` keeps what they do not show."""
    source = data["action"].pop("code")
    if shown == list(cell.outputs):
        data["outcome"]["cell"].pop("outputs")
    tags = [data["action"]["kind"]]
    if cell.error:
        tags.append("raises-exception")  # nbclient continues after an error in a cell with this tag
    made: NotebookNode = nbformat.v4.new_code_cell(
        source,
        id=name,
        outputs=[nbformat.from_dict(output) for output in shown],
        execution_count=cell.execution_count,
        metadata={"kernel_env": data, "tags": tags},
    )
    return made


def text_cell(
    name: str, step: Step, code: str, shown: list[Output], data: dict[str, Any]
) -> NotebookNode:
    """Return a cell that Run All must not run, as Markdown with its text and its pictures."""
    parts: list[Markdown] = []
    pictures: dict[str, dict[str, str]] = {}
    for output in shown:
        kinds = [kind for kind in PICTURES if kind in output.get("data", {})]
        if kinds:
            file = f"{name}-{len(pictures) + 1}.{kinds[0].partition('/')[2]}"
            pictures[file] = {kinds[0]: output["data"][kinds[0]]}
            parts.append(Markdown("![output](attachment:{})").format(Markdown(file)))
        elif text := output_text(output).rstrip("\n"):
            parts.append(fenced(clipped(text, OUTPUT_CHARACTERS)))
    text = notebook_text.code_text(step, code, parts)
    made = markdown(name, text, kernel_env=data, tags=[step.action.kind])
    if pictures:
        made.attachments = pictures
    return made


class LastUses:
    """Which step uses a name last, over all cells of an episode."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._step_of: dict[str, int] = {}
        for step in trajectory.steps:
            for name in set(NAME.findall(getattr(step.action, "code", ""))):
                self._step_of[name] = step.number

    def lasting(self, step: int, code: str, variables: tuple[Variable, ...]) -> list[Variable]:
        """Return the new variables of a step that matter later: no loop variables."""
        loops = loop_names(code)
        return [
            variable
            for variable in variables
            if variable.change == "new"
            and variable.name not in loops
            and self._step_of.get(variable.name, 0) > step
        ]


def loop_names(code: str) -> set[str]:
    """Return the names that a cell binds only in loops, `with` and `except`; code is not parsed."""
    inside = {name for found in LOOP.findall(code) for name in NAME.findall("".join(found))}
    return inside - set(ASSIGNED.findall(code))
