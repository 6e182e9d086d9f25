"""Documents follow ATIF v1.8, and mark what a fork has from its parent."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import JOURNAL, Journal
from kernel_env.episode.trajectory import Ending, Trajectory
from kernel_env.export import FORMATS, export
from support.exports import Family, write
from support.trajectories import trajectories

NOT_AGENT = ("tool_calls", "metrics", "reasoning_content", "model_name", "reasoning_effort")


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("ascii")) for path in sorted(folder.glob("train/*.json"))]


def check(document: dict[str, Any]) -> None:
    """Check what the format requires; with its package, everything."""
    steps = document["steps"]
    assert document["schema_version"] == "ATIF-v1.8"
    assert [step["step_id"] for step in steps] == [*range(1, len(steps) + 1)]
    assert document["final_metrics"]["total_steps"] == len(steps)
    for step in steps:
        calls = {call["tool_call_id"] for call in step.get("tool_calls", ())}
        results = step.get("observation", {}).get("results", ())
        assert {result["source_call_id"] for result in results} == calls
        assert step["source"] == "agent" or not set(NOT_AGENT) & set(step)
        assert step.get("llm_call_count") != 0 or "metrics" not in step
    try:
        import atif
    except ImportError:
        return
    atif.Trajectory.model_validate(document)


def test_documents_mark_what_a_fork_copied(family: Family, tmp_path: Path) -> None:
    export([family.root], tmp_path / "atif", "atif")

    found = documents(tmp_path / "atif")
    assert {one["trajectory_id"] for one in found} == set(family.ids)
    for one in found:
        check(one)
        steps = one["steps"]
        assert [step["source"] for step in steps[:2]] == ["system", "user"]
        own = [step for step in steps if "observation" in step and "is_copied_context" not in step]
        seen = [step["observation"]["results"][0]["content"] for step in own]
        assert seen == family.seen[one["trajectory_id"]]
        assert all(step["llm_call_count"] == 0 for step in own)
        copied = [step for step in steps if step.get("is_copied_context")]
        assert len(copied) == (2 if one["extra"]["parent"] else 0)


def test_what_a_parent_used_is_in_no_total_of_its_fork(tmp_path: Path) -> None:
    root = write(tmp_path / "root", steps=3, tokens=10)
    write(tmp_path / "fork", steps=5, tokens=10, parent=(root, 2))

    export([tmp_path / "fork"], tmp_path / "atif", "atif")

    (one,) = documents(tmp_path / "atif")
    check(one)
    used = [step["metrics"]["prompt_tokens"] for step in one["steps"] if "metrics" in step]
    assert used == [8] * 5
    assert one["final_metrics"]["total_prompt_tokens"] == 8 * 3
    assert one["final_metrics"]["total_completion_tokens"] == 2 * 3


@pytest.mark.parametrize("name", ["../../x", "a/b", "\x1b]0;t\x07", "é" * 300, ""])
def test_an_episodes_name_names_no_folder(tmp_path: Path, name: str) -> None:
    run = write(tmp_path / "run")
    journal = run / JOURNAL
    journal.write_bytes(
        journal.read_bytes().replace(
            b'"episode":"run"', b'"episode":%s' % json.dumps(name).encode()
        )
    )

    export([run], tmp_path / "new" / "atif", "atif")

    (one,) = documents(tmp_path / "new" / "atif")
    assert one["trajectory_id"] == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run"]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trajectory=trajectories())
def test_any_journal_is_exported_in_every_format(tmp_path: Path, trajectory: Trajectory) -> None:
    with TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name) / "run"
        folder.mkdir()
        ending = trajectory.ending or Ending(status="budget", reason="", spent=Spent())
        header = replace(trajectory.header, fork=None, model="m")
        with closing(Journal(folder / JOURNAL, header)) as journal:
            for step in trajectory.steps:
                journal.append(step)
            for note in trajectory.notes:
                journal.add_note(note)
            journal.end(ending)
        own = sum(step.actor == "agent" for step in trajectory.steps)
        for form in FORMATS if own else ():
            done = export([folder], Path(name) / form, form)
            assert done.rows["train"] == (own if form == "rl" else 1)
        for one in documents(Path(name) / "atif"):
            check(one)
