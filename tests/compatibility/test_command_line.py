"""Commands, options and JSON of version 0.1 are as they were."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kernel_env.cli import app
from support.v01 import CHANGED_DEFAULTS, EPISODES, OLD, json_lines, run_main


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    yield " ".join(("kernel-env", *path)), command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


COMMANDS = json.loads((OLD / "cli" / "commands.json").read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_options_and_defaults(name: str) -> None:
    now = dict(walk(typer.main.get_command(app)))
    assert set(now) >= set(COMMANDS), "commands"
    before = COMMANDS[name]
    command = getattr(now[name], "default_command", now[name])
    parameters = {tuple(sorted([*p.opts, *p.secondary_opts])): p for p in command.params}

    for expected in before["parameters"]:
        found = parameters[tuple(expected["names"])]
        assert found.param_type_name == expected["kind"]
        assert bool(found.required) <= expected["required"]
        assert (found.nargs != 1 or bool(getattr(found, "multiple", False))) >= expected["many"]
        assert bool(getattr(found, "is_flag", False)) == expected["flag"]
        if expected["default"] is not None:
            default = found.default
            if (expected["default"], default) == CHANGED_DEFAULTS.get(found.name):
                continue
            shown = default if isinstance(default, str | int | float | bool) else str(default)
            assert shown == expected["default"], expected["names"]
    arguments = [p.opts[0] for p in command.params if p.param_type_name == "argument"]
    assert arguments == [p["names"][0] for p in before["parameters"] if p["kind"] == "argument"], (
        "in their order"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_same_options_in_their_order(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    before = (OLD / "cli" / "help" / f"{name.replace(' ', '-')}.txt").read_text()

    said = run_main(*name.split()[1:], "--help")

    option = re.compile(r"^ +(--[a-z-]+)", re.MULTILINE)
    old = option.findall(before)
    assert [each for each in option.findall(said) if each in old] == old


def test_tasks_list_and_show_have_their_keys_and_values() -> None:
    rows = {
        row["task"]: row
        for row in map(json.loads, run_main("tasks", "list", "--json").splitlines())
    }
    for expected in json_lines(OLD / "cli" / "tasks-list.jsonl"):
        found = rows[expected["task"]]
        assert list(found) == list(expected)
        assert all(found[key] == expected[key] for key in ("domain", "kind", "metric", "image"))

    shown = json.loads(run_main("tasks", "show", "tiny", "--json"))
    before = json.loads((OLD / "cli" / "tasks-show.json").read_text())
    assert [key for key in shown if key in before] == list(before)
    known = {key: value for key, value in before.items() if key not in ("readiness", "folder")}
    assert {key: shown[key] for key in known} == known


def test_doctor_has_its_keys_and_findings() -> None:
    before = json.loads((OLD / "cli" / "doctor.json").read_text())
    rows = [json.loads(line) for line in run_main("doctor", "--json").splitlines()]

    assert all(list(row) == before["keys"] for row in rows)
    optional = {"image base", "image tabular", "leftovers", "kernels"}  # where an engine answers
    assert {row["what"] for row in rows} >= set(before["what"]) - optional


def test_run_and_replay_have_their_keys_and_scores(tmp_path: Path) -> None:
    run = ["run", "tiny", "tiny-human", "--agent", "scripted", "--sandbox", "local", "--json"]
    run += ["--script", OLD / "cli" / "script.json", "--out", tmp_path / "runs"]  # type: ignore[list-item]
    replay = ["replay", EPISODES / "forked-copy" / "trajectory.ipynb"]
    before = json.loads((OLD / "cli" / "replay.json").read_text())

    old_rows = {(row["task"], row["seed"]): row for row in json_lines(OLD / "cli" / "run.jsonl")}
    for row in map(json.loads, run_main(*run).splitlines()):
        expected = old_rows[row["task"], row["seed"]]
        assert list(row)[: len(expected)] == list(expected)
        same = set(expected) - {"notebook", "episode", "seconds", "sandbox", "missing"}
        assert {key: row[key] for key in same} == {
            key: pytest.approx(v) if isinstance(v, float) else v
            for key, v in expected.items()
            if key in same
        }
        assert json.loads((Path(row["notebook"]).with_name("record.json")).read_text()) == row

    (row,) = map(
        json.loads,
        run_main(
            *replay, "--sandbox", "local", "--out", tmp_path, "--json", code=before["exit"]
        ).splitlines(),
    )
    assert list(row)[: len(before["keys"])] == before["keys"]
    old = json.loads((EPISODES / "forked-copy" / "record.json").read_text())
    for key in ("task", "status", "steps", "public_score", "private_score", "total_reward"):
        assert (
            row[key] == pytest.approx(old[key]) if key.endswith("score") else row[key] == old[key]
        )


@pytest.mark.docker
def test_tasks_check_makes_the_same_checks() -> None:
    before = json_lines(OLD / "cli" / "tasks-check.jsonl")

    made = [json.loads(line) for line in run_main("tasks", "check", "tiny", "--json").splitlines()]
    rows = [row for row in made if row["check"] in {row["check"] for row in before}]  # some are new

    assert [row["check"] for row in rows] == [row["check"] for row in before]
    assert [list(row) for row in rows] == [list(row) for row in before]
    assert [row["verdict"] for row in rows] == [row["verdict"] for row in before]
