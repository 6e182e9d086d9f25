"""Read actions from a notebook, a JSON list or a journal, and play them in an episode."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kernel_env.episode import json_codec
from kernel_env.episode.actions import Action, ExecuteCode
from kernel_env.episode.episode import Episode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.step import Actor, Step
from kernel_env.errors import ActionError, UsageError


@dataclass(frozen=True, kw_only=True)
class ScriptedAction:
    """One action of a script, with the thought that precedes it."""

    action: Action
    thought: str = ""
    actor: Actor = "agent"
    """Who took the step in a recorded episode; what a person did is done again in their name."""


async def play(actions: Sequence[ScriptedAction], episode: Episode) -> None:
    """Execute the actions in order until the last one or the end of the budget."""
    for scripted in actions:
        if episode.over:
            return
        await episode.act(scripted.action, thought=scripted.thought, actor=scripted.actor)


def read(path: Path) -> list[ScriptedAction]:
    """Read the actions of a script file.

    Raises:
        UsageError: the file cannot be read, has another format or contains no actions.
    """
    match path.suffix:
        case ".ipynb":
            actions = list(from_notebook(read_notebook(path)))
        case ".jsonl":
            actions = [recorded(step) for step in read_journal(path).steps]
        case ".json":
            actions = list(from_list(path))
        case _:
            raise UsageError(f"{path} is no script; expected a .ipynb, .json or .jsonl file")
    if not actions:
        raise UsageError(f"{path} has no actions; add at least one")
    return actions


def recorded(step: Step) -> ScriptedAction:
    """Return the action of a recorded step."""
    return ScriptedAction(action=step.action, thought=step.thought, actor=step.actor)


def is_recorded(path: Path) -> bool:
    """Return whether a script is the journal or the notebook of an episode."""
    if path.suffix == ".ipynb":
        return "kernel_env" in read_notebook(path).metadata
    return path.suffix == ".jsonl"


def from_notebook(notebook: nbformat.NotebookNode) -> Iterator[ScriptedAction]:
    """Yield the actions of a trajectory; for another notebook, its code cells.

    The thought of a code cell is the Markdown between it and the previous code cell.
    """
    if "kernel_env" in notebook.metadata:
        for step in parse_notebook(notebook).steps:
            yield recorded(step)
        return
    texts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            texts.append(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            yield ScriptedAction(action=ExecuteCode(code=cell.source), thought="\n\n".join(texts))
            texts = []


def from_list(path: Path) -> Iterator[ScriptedAction]:
    """Yield the actions of a JSON list; each action can have a `thought` as an extra field."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path} must hold a JSON list of actions")
    for number, entry in enumerate(entries):
        thought = entry.pop("thought", "")
        try:
            yield ScriptedAction(action=json_codec.parse_action(entry), thought=str(thought))
        except ActionError as error:
            raise UsageError(f"{path}, entry {number}: {error}") from error
