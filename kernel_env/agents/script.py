"""Actions written down: read from a notebook, a list or a journal, played one by one."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kernel_env.episode import json_codec
from kernel_env.episode.actions import Action, ExecuteCode
from kernel_env.episode.episode import Episode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import parse_notebook, read_notebook
from kernel_env.errors import ActionError, UsageError


@dataclass(frozen=True, kw_only=True)
class ControlChannel:
    """One action with what is said before it."""

    action: Action
    thought: str = ""


async def play(lines: Sequence[ControlChannel], episode: Episode) -> None:
    """Take the lines as they come until they or the budget end."""
    for line in lines:
        if episode.over:
            return
        await episode.act(line.action, thought=line.thought)


def read(path: Path) -> list[ControlChannel]:
    """The lines of a script file. Raises `UsageError` when it holds none."""
    match path.suffix:
        case ".ipynb":
            lines = list(from_notebook(read_notebook(path)))
        case ".jsonl":
            steps = read_journal(path).steps
            lines = [ControlChannel(action=step.action, thought=step.thought) for step in steps]
        case ".json":
            lines = list(from_list(path))
        case _:
            raise UsageError(f"{path} is no script; it must end in .ipynb, .json or .jsonl")
    if not lines:
        raise UsageError(f"{path} has no actions to play")
    return lines


def from_notebook(notebook: nbformat.NotebookNode) -> Iterator[ControlChannel]:
    """A trajectory's own actions; of another notebook, its code cells and the words before."""
    if "kernel_env" in notebook.metadata:
        for step in parse_notebook(notebook).steps:
            yield ControlChannel(action=step.action, thought=step.thought)
        return
    words: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            words.append(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            yield ControlChannel(action=ExecuteCode(code=cell.source), thought="\n\n".join(words))
            words = []


def from_list(path: Path) -> Iterator[ControlChannel]:
    """A JSON list of actions, each of which may have a `thought` beside its own fields."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path} must hold a JSON list of actions")
    for number, entry in enumerate(entries):
        thought = entry.pop("thought", "")
        try:
            yield ControlChannel(action=json_codec.parse_action(entry), thought=str(thought))
        except ActionError as error:
            raise UsageError(f"{path}, entry {number}: {error}") from error
