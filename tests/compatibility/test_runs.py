"""Runs of version 0.1 are read, rendered, exported and reported."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kernel_env.agents import script
from kernel_env.episode import json_codec
from kernel_env.episode.actions import KINDS
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.result import result_of
from kernel_env.episode.step import Graded, Rejected
from kernel_env.episode.trajectory import ENDING, HEADER
from kernel_env.episode.visible_outputs import visible
from support.v01 import ALL, ENDED, EPISODES, EXPORTS, OLD, entries, run_main


def old_fields(new: Any, old: Any) -> Any:
    """Return a JSON value without the fields that version 0.1 did not have."""
    match new, old:
        case dict(), dict():
            return {key: old_fields(value, old[key]) for key, value in new.items() if key in old}
        case list(), list() if len(new) == len(old):
            return [old_fields(one, other) for one, other in zip(new, old, strict=True)]
    return new


def test_every_sort_of_thing_is_in_the_artefacts() -> None:
    steps = [step for name in ALL for step in entries(name, "step")]
    cells = [cell for step in steps if (cell := step["outcome"].get("cell"))]
    found = {
        "actions": {step["action"]["kind"] for step in steps},
        "outcomes": {step["outcome"]["kind"] for step in steps},
        "submissions": {s["kind"] for step in steps if (s := step["outcome"].get("submission"))},
        "recoveries": {cell["recovery"]["how"] for cell in cells if cell["recovery"]},
        "forks": {f["how"] for name in ALL for h in entries(name, "header") if (f := h["fork"])},
        "statuses": {ending["status"] for name in ALL for ending in entries(name, "ending")},
        "outputs": {output["output_type"] for cell in cells for output in cell["outputs"]},
    }
    assert found == {
        "actions": {"request_info", "validate_code", "execute_code", "get_history", "reset"},
        "outcomes": {"told", "ran", "checked", "restarted"},
        "submissions": {"graded", "refused"},
        "recoveries": {"standby", "replay", "again"},
        "forks": {"copy", "replay"},
        "statuses": {
            "finished", "budget", "interrupted", "agent_failed", "task_failed", "crashed",
        },
        "outputs": {"stream", "display_data", "execute_result", "error"},
    }  # fmt: skip
    for sign in ("timed_out", "state_lost", "dropped_bytes", "late", "variables", "files"):
        assert any(cell[sign] for cell in cells), sign


@pytest.mark.parametrize("name", ALL)
def test_a_journal_is_read_and_would_be_written_as_it_is(name: str) -> None:
    read = read_journal(EPISODES / name / "journal.jsonl")
    expected = (EPISODES / name / "journal.jsonl").read_bytes()

    written = [b'{"header": %s}\n' % HEADER.dump_json(read.header)]
    written += [b'{"step": %s}\n' % json_codec.step_json(step) for step in read.steps]
    written += [b'{"ending": %s}\n' % ENDING.dump_json(read.ending)] if read.ending else []
    whole = expected[: expected.rindex(b"\n") + 1]
    for line, old in zip(
        map(json.loads, written), map(json.loads, whole.splitlines()), strict=True
    ):
        assert json.dumps(old_fields(line, old)) == json.dumps(old)
    assert (read.ending is None) == name.startswith("interrupted-")


@pytest.mark.parametrize("name", ALL)
def test_the_parsed_steps_keep_every_kind(name: str) -> None:
    steps = read_journal(EPISODES / name / "journal.jsonl").steps

    for step, expected in zip(steps, entries(name, "step"), strict=True):
        assert step.action.kind == expected["action"]["kind"]
        assert type(step.action) in KINDS
        assert step.outcome.kind == expected["outcome"]["kind"]
        submission = expected["outcome"].get("submission")
        assert (step.submission and step.submission.kind) == (submission and submission["kind"])
        assert isinstance(step.submission, Graded | Rejected | None)
        recovery = (expected["outcome"].get("cell") or {}).get("recovery")
        found = step.cell.recovery if step.cell else None
        assert (found and found.how) == (recovery and recovery["how"])
        assert old_fields(json_codec.step_data(step), expected) == expected
        assert json_codec.parse_action(expected["action"]) == step.action


@pytest.mark.parametrize("name", ALL)
def test_the_notebook_holds_what_the_journal_holds(name: str) -> None:
    journal = read_journal(EPISODES / name / "journal.jsonl")
    notebook = parse_notebook(read_notebook(EPISODES / name / EXPORTS[name]["notebook"]))

    assert notebook.header == journal.header
    assert list(notebook.steps) == list(journal.steps)
    assert notebook.ending == journal.ending


@pytest.mark.parametrize("name", ALL)
def test_code_and_outputs_are_rendered_as_they_were(name: str) -> None:
    """What Run All must not run again is a Markdown cell now."""
    path = EPISODES / name / EXPORTS[name]["notebook"]
    made = {cell.id: cell for cell in render(read_journal(path.with_name("journal.jsonl"))).cells}

    for old in nbformat.read(path, as_version=4).cells:
        if old.cell_type == "code":
            new, outputs = made[old.id], json.loads(json.dumps(old.outputs))
            assert old.source.strip("\n") in new.source
            if new.cell_type == "code":
                assert json.loads(json.dumps(new.outputs)) == visible(outputs)
            else:
                assert "skip-execution" in old.metadata.tags


@pytest.mark.parametrize("name", ENDED)
def test_the_record_is_computed_as_it_was(name: str) -> None:
    before = json.loads((EPISODES / name / "record.json").read_text())

    made = result_of(read_journal(EPISODES / name / "journal.jsonl"), Path(before["notebook"]))

    assert json.loads(json.dumps(old_fields(made.json(), before))) == before
    assert list(made.json())[: len(before)] == list(before)


@pytest.mark.parametrize("name", ALL)
def test_export_writes_the_same_notebook(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"

    said = json.loads(run_main("export", EPISODES / name / "journal.jsonl", "--out", out, "--json"))

    assert said == {"notebook": str(out), "steps": EXPORTS[name]["steps"]}
    assert sorted(said) == EXPORTS[name]["keys"]
    before = parse_notebook(read_notebook(EPISODES / name / EXPORTS[name]["notebook"]))
    assert parse_notebook(read_notebook(out)) == before


def test_export_takes_the_folder_and_writes_beside_the_journal(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EPISODES / "interrupted-journal", tmp_path / "run"))

    run_main("export", folder)

    made, before = (read_notebook(folder / name) for name in ("trajectory.ipynb", "export.ipynb"))
    assert parse_notebook(made) == parse_notebook(before)


@pytest.mark.parametrize("name", ALL)
def test_journal_and_notebook_are_scripts_of_the_same_actions(name: str) -> None:
    folder = EPISODES / name
    written = script.read(folder / "journal.jsonl")

    assert written == script.read(folder / EXPORTS[name]["notebook"])
    assert [json_codec.action_json(line.action) for line in written] == [
        step["action"] for step in entries(name, "step")
    ]
    assert [line.thought for line in written] == [step["thought"] for step in entries(name, "step")]


def test_the_report_says_the_same() -> None:
    before = json.loads((OLD / "report.json").read_text())

    said = json.loads(run_main("report", "--format", "mle-bench", EPISODES))

    for one, other in zip(said["competition_reports"], before["competition_reports"], strict=True):
        assert one.pop("created_at") != other.pop("created_at")
        path = one.pop("submission_path")
        assert (path and str(Path(path).relative_to(OLD))) == other.pop("submission_path")
    assert said == before
