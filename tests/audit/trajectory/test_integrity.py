"""One changed character anywhere in the files of a run is found, at its place."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_env.audit.trajectory.integrity import find_tampering
from kernel_env.audit.trajectory.recording import Unreadable, read_recording
from kernel_env.episode.submissions import submission_file
from kernel_env.errors import UsageError
from support.mutations import changed, paths
from support.recorded_run import write_run

SHOWN = "what the notebook shows"
MOVING = ("after_step", "cell_type")
"""Leaves that decide where an entry belongs: another entry is found to be out of place."""
NOT_COVERED = (
    "nbformat",
    "nbformat_minor",
    "kernelspec",
    "language_info",
    "id",
    "tags",
    "execution_count",
)
"""What Jupyter keeps for itself: it is not shown, or not by us."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder that nobody changes."""
    folder = tmp_path_factory.mktemp("run") / "e"
    write_run(folder)
    return folder


def found_in(path: Path) -> list[str]:
    """Return where tampering is found; of a file that cannot be parsed any more, only one place."""
    try:
        return [each.where for each in find_tampering(read_recording(path))]
    except Unreadable as error:
        return [error.where]


def leaves(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of texts, numbers and null in a JSON value."""
    for path in paths(value):
        if not isinstance(at(value, path), dict | list):
            yield path


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """Return the value at a path."""
    for key in path:
        value = value[key]
    return value


def mutated(value: Any) -> Any:
    """Return a value that differs by one character or digit, or by being there."""
    match value:
        case None:
            return "x"
        case bool():
            return not value
        case int() | float():
            return value + 1
        case "":
            return "x"
    middle = len(value) // 2
    new = "y" if value[middle] == "x" else "x"
    return value[:middle] + new + value[middle + 1 :]


def test_nothing_is_found_in_what_nobody_changed(run: Path) -> None:
    for path in (run, run / "journal.jsonl", run / "trajectory.ipynb"):
        assert found_in(path) == []


def expected_in_notebook(notebook: Any, path: tuple[Any, ...]) -> set[str]:
    """Return where a change of a notebook's leaf must be found."""
    if path[0] == "metadata":
        assert path[1] == "kernel_env", path
        match path[2]:
            case "header" | "ending" as entry:
                return {entry}
            case "thoughts":
                return {f"step {path[3]}"}
            case "digests":
                return {"header": {"header"}, "ending": {"ending"}, "cells": {SHOWN}}.get(
                    path[3], {"ending"}
                )
    cell = notebook["cells"][path[1]]
    data = cell["metadata"].get("kernel_env", {})
    if "thought_of" in data and "metadata" in path:
        return {f"step {step['number']}" for step in [{"number": data["thought_of"]}]}
    own = f"step {data['number']}" if "number" in data else ""
    if "note" in data:
        own = cell["id"].replace("note-000", "note ")
    if path[2] != "metadata":
        return {own, SHOWN} if own and cell["cell_type"] == "code" else {SHOWN}
    return {own}


def test_every_leaf_of_the_notebook_is_covered(run: Path, tmp_path: Path) -> None:
    original = json.loads((run / "trajectory.ipynb").read_text())
    file = tmp_path / "trajectory.ipynb"
    count = 0

    for path in leaves(original):
        if set(NOT_COVERED) & {path[0], *path[1:2], path[-1], *path[3:4]}:
            continue
        value = mutated(at(original, path))
        file.write_text(json.dumps(changed(original, path, value, delete=False)))
        found = found_in(file)

        assert found, path
        if path[-1] not in MOVING:
            assert found[0] in expected_in_notebook(original, path), (path, found)
        count += 1

    assert count > 200


def test_every_leaf_of_the_journal_is_covered(run: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    file = tmp_path / "journal.jsonl"
    notes = 0

    for number, line in enumerate(lines):
        kind = next(name for name in line if name != "digest")
        notes += kind == "note"
        name = {"step": f"step {line.get('step', {}).get('number')}", "note": f"note {notes}"}
        for path in leaves(line):
            value = changed(line, path, mutated(at(line, path)), delete=False)
            all_lines = [*lines[:number], value, *lines[number + 1 :]]
            file.write_text("".join(json.dumps(each) + "\n" for each in all_lines))
            found = found_in(file)

            assert found, (number, path)
            if path[-1] not in MOVING:
                assert found[0] == name.get(kind, kind), (path, found)


def test_every_field_of_the_record_is_covered(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "e"))
    original = json.loads((folder / "record.json").read_text())

    for path in leaves(original):
        if path[0] in ("notebook", "flags"):
            continue  # where the notebook was written; an audit, which can be made anew
        value = changed(original, path, mutated(at(original, path)), delete=False)
        (folder / "record.json").write_text(json.dumps(value))

        assert found_in(folder) == ["record.json"], path


def test_a_submission_that_is_not_the_graded_one_is_found(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "e"))
    file = submission_file(folder, 1)

    file.write_bytes(file.read_bytes().replace(b"2.5", b"2.6"))
    assert found_in(folder) == ["step 1"]
    file.unlink()
    assert found_in(folder) == ["step 1"]


@pytest.mark.parametrize(
    ("delete", "where"),
    [
        (lambda cells: cells[:-1], SHOWN),
        (lambda cells: [c for c in cells if not c["id"].startswith("step-0006")], "ending"),
        (lambda cells: [c for c in cells if not c["id"].startswith("step-0003")], "step 3"),
        (lambda cells: [c for c in cells if not c["id"].startswith("note-0002")], "step 3"),
        (lambda cells: [*cells[:3], cells[4], cells[3], *cells[5:]], "step 1"),
    ],
    ids=["the last cell", "the last step", "a step in the middle", "a note", "two swapped cells"],
)
def test_missing_and_swapped_cells_are_found(
    run: Path, tmp_path: Path, delete: Any, where: str
) -> None:
    notebook = json.loads((run / "trajectory.ipynb").read_text())
    notebook["cells"] = delete(notebook["cells"])
    file = tmp_path / "trajectory.ipynb"
    file.write_text(json.dumps(notebook))

    assert found_in(file)[0] == where


def test_missing_lines_of_the_journal_are_found(run: Path, tmp_path: Path) -> None:
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    file = tmp_path / "journal.jsonl"

    for left_out in range(1, len(lines) - 1):
        file.write_text("".join(lines[:left_out] + lines[left_out + 1 :]))
        assert found_in(file), left_out


def test_digests_that_were_removed_are_missed(run: Path, tmp_path: Path) -> None:
    notebook = json.loads((run / "trajectory.ipynb").read_text())
    del notebook["metadata"]["kernel_env"]["digests"]
    file = tmp_path / "trajectory.ipynb"
    file.write_text(json.dumps(notebook))

    assert found_in(file)


def test_a_journal_without_its_ending_is_that_of_a_full_disk(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "e"))
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:-1]))

    assert found_in(folder) == []
    (folder / "trajectory.ipynb").unlink()
    assert found_in(folder) == ["record.json"]


def test_journal_and_notebook_that_differ_are_found(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "e"))
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:-3]))  # without step 6
    assert "step 6" in found_in(folder)

    shutil.copy(run / "journal.jsonl", folder / "journal.jsonl")
    other = write_run(tmp_path / "other", thought="another")
    shutil.copy(tmp_path / "other" / "trajectory.ipynb", folder / "trajectory.ipynb")
    assert other.steps[0].thought == "another 1"
    assert found_in(folder) == ["step 1"]


def resaved(value: Any, *, texts: bool = True) -> Any:
    """Return a notebook as JupyterLab saves it: sorted keys, whole numbers, lists of lines."""
    if isinstance(value, dict):
        kinds = ("source", "text", "text/plain", "text/html") if texts else ()
        return {
            key: split(value[key])
            if key in kinds
            else resaved(value[key], texts=texts and key != "metadata")
            for key in sorted(value, reverse=True)
        }
    if isinstance(value, list):
        return [resaved(inner, texts=texts) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def split(value: Any) -> Any:
    """Return the lines of a text, as nbformat stores it."""
    return value.splitlines(keepends=True) if isinstance(value, str) else value


def test_a_notebook_that_jupyterlab_saved_is_as_it_was(run: Path, tmp_path: Path) -> None:
    notebook = resaved(json.loads((run / "trajectory.ipynb").read_text()))
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.13.1"}
    for cell in notebook["cells"]:
        cell["metadata"]["editable"] = True
    file = tmp_path / "trajectory.ipynb"
    file.write_text(json.dumps(notebook, indent=1))

    assert found_in(file) == []


def test_a_notebook_that_is_no_episode_is_an_error_of_usage(tmp_path: Path) -> None:
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))

    with pytest.raises(UsageError, match="not the notebook of an episode"):
        read_recording(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recording(tmp_path / "none.ipynb")


def test_runs_of_version_0_1_have_no_digests_and_are_not_changed() -> None:
    runs = Path(__file__).parents[2] / "data" / "v0.1" / "episodes"
    folders = [path.parent for path in runs.rglob("journal.jsonl")]

    assert folders
    for folder in folders:
        recording = read_recording(folder)
        assert not recording.has_digests
        assert list(find_tampering(recording)) == []
