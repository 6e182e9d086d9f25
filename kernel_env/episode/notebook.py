"""Render a trajectory as a notebook, and parse it back without loss.

All that is not ours stands in code spans and fenced blocks, or in the outputs of code cells.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kernel_env.episode import json_codec
from kernel_env.episode.budget import Spent
from kernel_env.episode.observation import (
    cell_facts,
    describe_place,
    describe_recovery,
    remarks,
    submission_lines,
)
from kernel_env.episode.step import CodeValidated, Graded, InfoShown, KernelReset, Rejected, Step
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Fork, Header, Note, Trajectory
from kernel_env.errors import SandboxError
from kernel_env.grading.leaderboard import human_rank
from kernel_env.kernel.cell import Cell
from kernel_env.untrusted_text import Markdown, code_span, fenced, without_html

WHOSE_CODE = Markdown(
    "{author} wrote the code below, and what it displays is its own too. **To run it again in a"
    " sealed container: `kernel-env replay` with this file.** Run All, in Jupyter or elsewhere,"
    " runs it as you, with your files and your network."
)
PARAGRAPH = Markdown("\n\n")
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
                "thoughts": {
                    str(step.number): step.thought for step in trajectory.steps if step.thought
                },
            },
        }
    )
    notebook.cells = [markdown("task", title(trajectory.header)), *middle_cells(trajectory)]
    if trajectory.ending:
        notebook.cells.append(markdown("ending", describe_ending(trajectory)))
    return notebook


def markdown(name: str, text: Markdown, **metadata: Any) -> NotebookNode:
    """Return a Markdown cell; its ID names its content."""
    cell: NotebookNode = nbformat.v4.new_markdown_cell(str(text), id=name, metadata=metadata)
    return cell


def title(header: Header) -> Markdown:
    """Return the text of the first cell: whose code it is, where it ran, and the task."""
    agent, model = code_span(header.agent), code_span(header.model)
    author = Markdown("The agent {}").format(agent) if header.agent else Markdown("A program")
    if header.model:
        author = Markdown("{} with the model {}").format(author, model)
    facts = [
        *([Markdown("agent {}").format(agent)] if header.agent else []),
        *([Markdown("model {}").format(model)] if header.model else []),
        Markdown("seed {}").format(header.seed),
        Markdown("sandbox {}{}").format(
            code_span(header.sandbox), Markdown("" if header.isolated else " (not isolated)")
        ),
        Markdown("image {}").format(code_span(header.image)),
        Markdown("started {}").format(header.started),
    ]
    paragraphs = [
        Markdown("An episode of kernel_env: {}. {}").format(
            Markdown(" · ").join(facts), WHOSE_CODE.format(author=author)
        ),
        *([describe_fork(header.fork)] if header.fork else []),
        without_html(header.description),
    ]
    return PARAGRAPH.join(paragraphs)


def describe_fork(fork: Fork) -> Markdown:
    """Describe where an episode was forked from."""
    how = {
        "copy": Markdown("its kernel was forked from that one"),
        "replay": Markdown("{} cells were replayed to reach that step").format(fork.cells),
    }[fork.how]
    seed = Markdown(" Its random states start from {} there.").format(fork.seed)
    lost = Markdown(" The replay did not reproduce everything: {}.").format(fork.lost)
    return Markdown(
        "🌿 Forked from episode {} after step {}: earlier steps belong to both, and {}.{}{}"
    ).format(
        code_span(fork.episode),
        fork.step,
        how,
        seed if fork.seed else Markdown(),
        lost if fork.lost else Markdown(),
    )


def middle_cells(trajectory: Trajectory) -> Iterator[NotebookNode]:
    """Yield the cells of the steps, and the notes between them."""
    notes = list(enumerate(trajectory.notes, 1))
    spent = Spent()
    for step in (None, *trajectory.steps):
        if step is not None:
            yield from step_cells(step, spent)
            spent = step.spent
        number = step.number if step else 0
        for index, note in notes:
            if note.after_step == number:
                yield note_cell(index, note)


def note_cell(index: int, note: Note) -> NotebookNode:
    """Return the cell of a note."""
    title = {
        "instructions": Markdown(
            "<details><summary>Instructions of the agent</summary>\n\n{}\n\n</details>"
        ),
        "refused": Markdown("The agent's answer was refused, because {reason}:\n\n{}"),
        "last_words": Markdown("The agent's last words:\n\n{}"),
    }[note.kind]
    text = title.format(fenced(note.text), reason=note.reason)
    return markdown(f"note-{index:04d}", text, kernel_env={"note": NOTE.dump_python(note)})


def step_cells(step: Step, before: Spent) -> Iterator[NotebookNode]:
    """Yield the cells of one step: thought, action with outputs, and result.

    `before` is what the episode had used before it.
    """
    name = f"step-{step.number:04d}"
    if step.thought:
        text = Markdown("The agent before step {}:\n\n{}").format(step.number, fenced(step.thought))
        yield markdown(f"{name}-thought", text, kernel_env={"thought_of": step.number})
    data = json_codec.step_data(step)
    data.pop("thought")
    if step.cell is None:
        used = [Markdown("<sub>{}</sub>").format(fact) for fact in model_usage(step.spent, before)]
        text = PARAGRAPH.join([describe_action(step), *used])
        yield markdown(name, text, kernel_env=data)
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
    yield markdown(f"{name}-result", describe_result(step, step.cell, before))


def describe_action(step: Step) -> Markdown:
    """Describe a step that ran no code."""
    match step.outcome:
        case InfoShown(text=text):
            given = json_codec.action_json(step.action).items()
            arguments = ", ".join(f"{k}={v!r}" for k, v in given if k != "kind")
            return Markdown(
                "**Step {}:** {}\n\n<details><summary>{:,} characters</summary>\n\n{}\n\n</details>"
            ).format(step.number, f"{step.action.kind}({arguments})", len(text), fenced(text))
        case KernelReset():
            return Markdown("**Step {}: reset** — a fresh kernel, an empty workspace").format(
                step.number
            )
    return Markdown()


def model_usage(spent: Spent, before: Spent) -> list[Markdown]:
    """Describe the tokens and dollars that were used since `before`; a guess is marked as one."""
    about = "about " if spent.estimated_tokens > before.estimated_tokens else ""
    tokens, money = spent.tokens - before.tokens, spent.money - before.money
    return [
        *([Markdown("{}{:,} tokens").format(about, tokens)] if tokens > 0 else []),
        *([Markdown("{}{:.4f} US dollars").format(about, money)] if money > 0 else []),
    ]


def describe_result(step: Step, cell: Cell, before: Spent) -> Markdown:
    """Describe the result of a code cell: changes, grade, reward, recovery."""
    by = [Markdown("by a person")] if step.actor == "human" else []
    facts = [f"step {step.number}", Markdown(step.action.kind), *by, *cell_facts(cell)]
    facts += model_usage(step.spent, before)
    lines = [Markdown("<sub>{}</sub>").format(Markdown(" · ").join(facts))]
    if isinstance(step.outcome, CodeValidated):
        note = Markdown(" {}" if step.outcome.note else "").format(step.outcome.note)
        lines.append(Markdown("Trial: all changes were discarded.{}").format(note))
    match step.submission:
        case Graded(grade=grade, shown=shown):
            place = f", {describe_place(grade.public)}" if grade.public else ""
            lines.append(
                Markdown("✅ **Submission graded: public score {:.6g}{}.**").format(
                    grade.public_score, place
                )
            )
            told = submission_lines(step.submission)[shown == "score" :]
            lines += [Markdown("{}").format(line) for line in told]
        case Rejected(reason=reason):
            lines.append(Markdown("⛔ **Submission rejected:** {}").format(reason))
    if step.submission is not None:
        lines.append(Markdown("Reward {:.4g}: {}.").format(step.reward, step.reward_reason))
    if cell.timed_out:
        lines.append(Markdown("⏱ Time limit reached after {:.1f} s.").format(cell.seconds))
    if cell.recovery:
        said = describe_recovery(cell.recovery)
        lines.append(Markdown("🛟 **Kernel restored:** {}").format(said))
    lines += [Markdown("Note: {}").format(line) for line in remarks(cell)]
    if step.state_lost:
        lines.append(Markdown("💥 **State lost:** {}").format(step.state_lost))
    if cell.late:
        lines.append(
            Markdown("Threads or programs of earlier cells printed (see the cell's metadata).")
        )
    return PARAGRAPH.join(lines)


def describe_ending(trajectory: Trajectory) -> Markdown:
    """Return the text of the last cell: how the episode ended."""
    ending = trajectory.ending
    assert ending is not None
    spent = [
        Markdown("{} steps").format(ending.spent.steps),
        Markdown("{:.0f} s").format(ending.spent.seconds),
        *model_usage(ending.spent, Spent()),
    ]
    lines = [
        Markdown("## Result"),
        Markdown("Ended as {}: {}. Spent: {}.").format(
            ending.status, ending.reason, Markdown(", ").join(spent)
        ),
    ]
    if ending.missing:
        lines.append(Markdown("⚠ On this machine, {}.").format(ending.missing))
    if ending.grade is None:
        return PARAGRAPH.join([*lines, Markdown("No submission was graded.")])
    grade, kind = ending.grade, trajectory.header.leaderboard_kind
    rows = [("public", grade.public_score, grade.public)]
    if grade.private_score is not None:
        rows.append(("private", grade.private_score, grade.private))
    table = [
        Markdown("| leaderboard | {} | place among {} entries |").format(
            trajectory.header.metric.replace("|", "¦"), kind
        ),
        Markdown("|---|---|---|"),
    ]
    for split, score, place in rows:
        told = describe_place(place) if place else "–"
        table.append(Markdown("| {} | {:.6g} | {} |").format(split, score, told))
    lines.append(Markdown("The submission of step {} counts.").format(ending.chosen_step))
    lines.append(Markdown("\n").join(table))
    rank = human_rank(grade.public, grade.private)
    if kind == "human" and rank is not None:
        lines.append(Markdown("Human rank, as MLE-Dojo computes it: {:.4f}.").format(rank))
    return PARAGRAPH.join(lines)
