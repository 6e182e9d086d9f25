"""Episodes are exported as what the agent saw and did, each step once."""

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_env.episode.journal import JOURNAL
from kernel_env.episode.step import CellExecuted
from kernel_env.errors import UsageError
from kernel_env.export import FORMATS, Filters, export
from kernel_env.export.runs import copied_steps, read_run
from kernel_env.export.selection import split_of
from kernel_env.kernel.cell import Cell
from support.cli import error_line, run_cli
from support.exports import Family, read_lines, write
from support.trajectories import cell_step


def test_conversations_have_what_the_agent_saw(family: Family, tmp_path: Path) -> None:
    done = export([family.root], tmp_path / "sft", "sft")

    rows = {row["episode"]: row for row in read_lines(tmp_path / "sft" / "train.jsonl")}
    assert done.rows == {"train": 3, "valid": 0}
    assert done.steps == {"train": 7, "valid": 0}
    for episode, texts in family.seen.items():
        row = rows[episode]
        learned = [m["content"] for m in row["completion"] if m["role"] == "tool"]
        begun = [m["content"] for m in row["prompt"] if m["role"] == "tool"]
        assert (begun + learned)[-len(texts) :] == texts
        assert row["prompt"][0] == {"role": "system", "content": "You are an engineer."}
        assert [tool["function"]["name"] for tool in row["tools"]] == [
            *("request_info", "validate_code", "execute_code", "get_history", "reset")
        ]
    own = [row for row in rows.values() if row["parent"] is None]
    assert [row["episode"] for row in own] == [family.ids[0]]
    said = own[0]["completion"] or own[0]["prompt"]
    assert said[-1] == {"role": "assistant", "content": "I am done."}
    assert "a person took 1 step in your kernel" in json.dumps(own[0])


def test_calls_have_objects_as_arguments(family: Family, tmp_path: Path) -> None:
    export([family.root], tmp_path / "sft", "sft")

    messages = [
        message
        for row in read_lines(tmp_path / "sft" / "train.jsonl")
        for message in (*row["prompt"], *row["completion"])
    ]
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    replies = [m["tool_call_id"] for m in messages if m["role"] == "tool"]

    assert [call["id"] for call in calls] == replies
    assert {"info_type": "name"} in [call["function"]["arguments"] for call in calls]
    assert {"code": "submit(2)"} in [call["function"]["arguments"] for call in calls]


def test_each_step_of_a_family_is_one_transition(family: Family, tmp_path: Path) -> None:
    export([family.root], tmp_path / "rl", "rl")

    rows = read_lines(tmp_path / "rl" / "train.jsonl")
    assert len(rows) == 2 + 2 + 1 + 1
    assert sorted(row["next_observation"] for row in rows) == sorted(
        text for texts in family.seen.values() for text in texts
    )
    for row in rows:
        before = [each for each in rows if each["next_observation"] == row["observation"]]
        assert len(before) == (row["step"] != 1)
    assert [row["done"] for row in rows].count(True) == 3
    assert {row["action"]["kind"] for row in rows} == {
        *("request_info", "execute_code", "validate_code")
    }
    assert [row["failed"] for row in rows].count(True) == 1
    forked = [row for row in rows if row["thought"].startswith("Slope")]
    assert len({row["group"] for row in forked}) == 1
    assert {row["parent"] for row in forked} == {family.ids[0]}
    assert sum(row["reward"] > 0 for row in rows) >= 2


def test_only_the_parents_part_is_left_out_of_a_fork(tmp_path: Path) -> None:
    root = write(tmp_path / "root", steps=4)
    child = write(tmp_path / "child", steps=6, parent=(root, 3))
    grandchild = write(tmp_path / "grandchild", steps=7, parent=(child, 5))
    runs = [read_run(folder / JOURNAL) for folder in (root, child, grandchild)]

    def copied(*order: int) -> list[int]:
        return list(copied_steps([runs[n] for n in order]).values())

    assert copied(0, 1, 2) == [0, 3, 5]
    assert copied(2, 1, 0) == [0, 5, 3]
    assert copied(0, 2, 1) == [0, 3, 5]
    assert copied(1, 0) == [0, 3]
    assert copied(2, 0) == [0, 3]


# ── filters, splits and the data card ─────────────────────────────────────────────────────


def test_filters_keep_what_is_worth_learning(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write(runs / "good", place=0.9)
    write(runs / "same", place=0.9, code="good = 1")
    write(runs / "same-again", place=0.8, code="good = 1")
    write(runs / "middle", place=0.6)
    write(runs / "bad", place=0.1)
    write(runs / "ungraded", place=None)
    write(runs / "machine", status="machine_failed")
    write(runs / "killed", status=None)
    write(runs / "other", task="other", place=0.7)
    (runs / "good" / "verification.json").write_text(
        json.dumps({"verdict": "REPRODUCED", "episode": "good"})
    )
    (runs / "bad" / "verification.json").write_text('{"verdict": "DRIFTED", "episode": "bad"}')
    (runs / "other" / "verification.json").write_text(
        json.dumps({"verdict": "REPRODUCED", "episode": "good"})
    )

    def kept(**filters: Any) -> set[str]:
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        export([runs], out, "sft", filters=Filters(**filters))
        return {row["episode"] for row in read_lines(out / "train.jsonl")}

    ended = {"good", "same", "middle", "bad", "ungraded", "other"}
    assert kept() == ended
    assert kept(duplicates=True) == {*ended, "same-again"}
    assert kept(min_place=0.6) == {"good", "same", "middle", "other"}
    assert kept(best=1) == {"good", "other"}
    assert kept(best=3) == {"good", "same", "middle", "other"}
    assert kept(reproduced=True) == {"good"}


def test_the_split_is_by_task(tmp_path: Path) -> None:
    for task in range(12):
        for seed in range(2):
            write(tmp_path / "runs" / f"t{task}-{seed}", task=f"t{task}")

    done = export([tmp_path / "runs"], tmp_path / "out", "rl", valid=0.5)

    sides = [
        {row["task"] for row in read_lines(tmp_path / "out" / f"{name}.jsonl")}
        for name in ("train", "valid")
    ]
    assert min(map(len, sides)) >= 2
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 12
    assert done.episodes == {"train": 2 * len(sides[0]), "valid": 2 * len(sides[1])}
    assert all(split_of(task, 0.9) == "valid" for task in sides[1])


def test_a_small_variant_is_on_the_side_of_its_large_task(tmp_path: Path) -> None:
    for number in range(12):
        for name, large in ((f"t{number}", ""), (f"t{number}-200", f"t{number}")):
            path = write(tmp_path / "runs" / name, task=name) / JOURNAL
            path.write_text(path.read_text().replace('"shrunk_of":""', f'"shrunk_of":"{large}"', 1))

    export([tmp_path / "runs"], tmp_path / "out", "rl", valid=0.5)

    for split in ("train", "valid"):
        rows = read_lines(tmp_path / "out" / f"{split}.jsonl")
        tasks = {row["task"] for row in rows}
        assert {task.removesuffix("-200") for task in tasks} == tasks - {
            task for task in tasks if task.endswith("-200")
        }


def test_the_data_card_says_what_is_in_it(family: Family, tmp_path: Path) -> None:
    hostile = write(tmp_path / "hostile", task="</td><script>|`x`") / JOURNAL
    hostile.write_bytes(hostile.read_bytes().replace(b"<script>", rb"<script>\ud800"))

    export([family.root, tmp_path / "hostile"], tmp_path / "out", "rl", valid=0.25)

    card = (tmp_path / "out" / "README.md").read_text()
    assert "## Tasks and licences" in card
    assert "| tiny |" in card
    assert "unknown: the task is not on this machine" in card
    assert "<script" not in card.replace("`</td><⁠script>¦`", "")
    assert "the same actions on the same task" in card
    assert all(line.count(" | ") == 4 for line in card.splitlines() if "hostile" in line)


def test_the_command_writes_a_data_set_or_nothing(family: Family, tmp_path: Path) -> None:
    out = tmp_path / "new" / "data"

    done = run_cli("export", "sft", family.root, "--out", out, "--best", 1, "--json")
    again = run_cli("export", "rl", family.root, "--out", out)
    plain = run_cli("export", "--help")

    assert json.loads(done.stdout)["rows"] == {"train": 1, "valid": 0}
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "train.jsonl",
        "valid.jsonl",
    ]
    assert "already exists; remove it, or give another folder with --out" in error_line(again)
    assert {"sft", "rl", "notebook"} <= set(plain.stdout.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_wrong_export_writes_nothing(family: Family, tmp_path: Path) -> None:
    strict, strange = Filters(reproduced=True), tmp_path / "strange.jsonl"
    strange.write_text("{}\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.ipynb").touch()

    for paths, form, filters, valid, message in (
        ([family.root], "rl", strict, 0, "no run is left to export: 3 without a verification"),
        ([family.root], "stf", None, 0, "no format named 'stf'; known: atif, rl, sft"),
        ([family.root], "sft", None, 2, "the share for validation is 2; it must be from 0 to 1"),
        ([tmp_path / "nowhere"], "sft", None, 0, "nowhere does not exist; give the folder"),
        ([tmp_path / "empty"], "sft", None, 0, "empty has no journal.jsonl below it; give"),
        ([tmp_path / "x.ipynb"], "sft", None, 0, "x.ipynb is no journal; give the folder of a run"),
        ([strange], "sft", None, 0, "no run is left to export: 1 not readable"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            export(paths, tmp_path / "out", form, filters=filters, valid=valid)
    with pytest.raises(UsageError, match=re.escape("minimum place is 3; it must be a share from")):
        Filters(min_place=3)
    with pytest.raises(UsageError, match="the best 0 of each task were requested; at least 1"):
        Filters(best=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "strange.jsonl", "x.ipynb"]


def test_a_damaged_journal_is_left_out_and_counted(family: Family, tmp_path: Path) -> None:
    write(tmp_path / "runs" / "fine")
    damaged = write(tmp_path / "runs" / "damaged") / JOURNAL
    damaged.write_bytes(damaged.read_bytes().replace(b'"number":2', b'"number":7'))
    endless = write(tmp_path / "runs" / "endless") / JOURNAL
    endless.write_bytes(endless.read_bytes().replace(b'"reward":0.5', b'"reward":Infinity'))
    said: list[str] = []

    done = export(
        [tmp_path / "runs"], tmp_path / "out", "sft", skip=lambda _, reason: said.append(reason)
    )

    assert done.left_out == {"not readable": 2}
    assert said[1].endswith(
        "endless/journal.jsonl has a reward, score or cost that is not a finite number"
    )
    assert "step 7 is where step 2 belongs" in said[0]


# ── memory ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "steps"),
    [
        *((form, 1_000) for form in FORMATS),
        pytest.param("rl", 100_000, marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_grow_with_the_steps(tmp_path: Path, form: str, steps: int) -> None:
    out = {"output_type": "stream", "name": "stdout", "text": "x" * 500}
    step = replace(cell_step(1, "print()"), outcome=CellExecuted(cell=Cell(outputs=(out,))))
    lines = write(tmp_path / "short", steps=1, outcome=step.outcome) / JOURNAL
    header, line, ending = lines.read_bytes().splitlines(keepends=True)
    long = tmp_path / "long" / JOURNAL
    long.parent.mkdir()
    with long.open("wb") as file:
        file.write(header)
        for number in range(1, steps + 1):
            file.write(line.replace(b'"number":1,', b'"number":%d,' % number))
        file.write(ending)
    export([tmp_path / "short"], tmp_path / "warm", form)

    tracemalloc.start()
    done = export([long], tmp_path / "out", form)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert done.steps["train"] == steps
    assert long.stat().st_size > 700 * steps
    assert peak < 600_000
