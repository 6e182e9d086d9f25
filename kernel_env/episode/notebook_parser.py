"""Read a trajectory back from its notebook. Everything is in the metadata, nothing in the prose."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kernel_env.episode import chain, json_codec
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Note, Trajectory
from kernel_env.errors import UsageError


def parse_notebook(notebook: NotebookNode) -> Trajectory:
    """Return the trajectory of a notebook. Raises `UsageError` for any other notebook."""
    try:
        metadata = notebook.metadata["kernel_env"]
        thoughts = metadata.get("thoughts", {})
        notes: list[Note] = []
        steps: list[Step] = []
        digests: dict[str, str] = {}
        thought = ""
        for cell in notebook.cells:
            data = cell.metadata.get("kernel_env")
            if data is None:
                continue
            if "note" in data:
                notes.append(NOTE.validate_python(data["note"]))
                digests[f"note {len(notes)}"] = data.get("digest", "")
                continue
            if "thought_of" in data:
                # In version 0.1 the source of the cell was the thought itself.
                thought = thoughts.get(str(data["thought_of"]), cell.source)
                continue
            step = parse_cell(cell, json.loads(json.dumps(data)), len(steps) + 1)
            steps.append(replace(step, thought=thought))
            digests[f"step {step.number}"] = data.get("digest", "")
            thought = ""
        trajectory = Trajectory(
            header=HEADER.validate_python(metadata["header"]),
            steps=tuple(steps),
            ending=ENDING.validate_python(metadata["ending"]) if metadata["ending"] else None,
            notes=tuple(notes),
        )
        stored = metadata.get("digests")
        return with_digests(trajectory, {**stored, **digests}) if stored else trajectory
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"this notebook is not a trajectory of kernel_env: {error}") from error


def with_digests(trajectory: Trajectory, stored: dict[str, str]) -> Trajectory:
    """Return a trajectory with its digests, given by name. If cells are missing at its end, the
    `last` digest tells: it follows those that are there.
    """
    found = [str(stored.get(name, "")) for name in chain.entry_names(trajectory)]
    if found[-1:] != [stored["last"]]:
        found.append(str(stored["last"]))
    return replace(trajectory, digests=tuple(found))


def parse_cell(cell: NotebookNode, data: dict[str, Any], number: int) -> Step:
    """Return the step of a cell: its metadata, with code and outputs added that it leaves out."""
    if cell.cell_type == "code":
        data["action"]["code"] = cell.source
        outputs = json.loads(json.dumps(cell.outputs))
        data["outcome"]["cell"].setdefault("outputs", outputs)
    return json_codec.parse_foreign_step(data, number)


def read_notebook(path: Path) -> NotebookNode:
    """Read any notebook. Raises `UsageError`."""
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if not (isinstance(cell.cell_type, str) and isinstance(cell.source, str)):
                raise TypeError("a cell has no type or no source")
            if not isinstance(cell.metadata, dict):
                raise TypeError("a cell has no metadata")
        if not isinstance(notebook.metadata, dict):
            raise TypeError("it has no metadata")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # nbformat's conversions of damaged files raise anything
        raise UsageError(f"{path} is not a notebook: {error}") from error
    return notebook
