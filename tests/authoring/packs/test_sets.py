"""Sets of a pack's tasks: no data family is on two sides, and sides stay when a pack grows."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.authoring.packs import sets, shipped
from kernel_env.authoring.packs.manifest import ManifestFile, Pack
from kernel_env.errors import TaskError


def pack_of(families: list[tuple[str, str]], folder: Path = Path()) -> Pack:
    """Return a pack with a task for each data family and question."""
    source = {"wheel": "w", "file": "f", "reader": "csv", "sha256": "0" * 64}
    common: dict[str, Any] = {"from": [source], "target": "y", "licence": "x", "source": "x"}
    common |= {"summary": "x", "topic": "t"}
    tasks = {
        f"task-{n}": {**common, "family": family, "question": question}
        for n, (family, question) in enumerate(families)
    }
    content = {"pack": {"name": "p", "version": "1"}, "task": tasks}
    content["wheel"] = {"w": {"version": "1", "sha256": "0" * 64}}
    return Pack(folder=folder, file=ManifestFile.model_validate(content), sha256="")


FAMILY = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
FAMILIES = st.lists(st.tuples(FAMILY, st.sampled_from(["a", "b", "c"])), min_size=1, max_size=60)


@given(FAMILIES)
def test_a_data_family_is_on_one_side(families: list[tuple[str, str]]) -> None:
    pack = pack_of(families)

    found = sets.sets_of(pack)

    sides = {(task.family, found[name][0]) for name, task in pack.file.task.items()}
    assert len(sides) == len({family for family, _ in families})


@given(FAMILIES, FAMILIES)
def test_a_side_stays_when_the_pack_grows(
    families: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    before, after = sets.sets_of(pack_of(families)), sets.sets_of(pack_of([*families, *more]))

    assert all(after[name][0] == found[0] for name, found in before.items())


@given(FAMILIES)
def test_diverse_tasks_are_of_different_families_and_of_each_question(
    families: list[tuple[str, str]],
) -> None:
    pack = pack_of(families)

    chosen = sets.choose_diverse(pack)

    names = [pack.file.task[name].family for name in chosen]
    assert len(names) == len(set(names)) == min(30, len({family for family, _ in families}))


def test_the_shares_of_sides_are_about_as_said() -> None:
    sides = [sets.side(f"family-{n}") for n in range(2000)]

    for name, share in sets.SIDES.items():
        assert abs(sides.count(name) / 2000 - share) < 0.03


def test_few_rows_make_a_task_micro_and_small(tmp_path: Path) -> None:
    pack = pack_of([("a", "q"), ("b", "q"), ("c", "q")], tmp_path)
    common: dict[str, Any] = {"domain": "tabular", "kind": "regression", "metric": "mae"}
    common |= {"test_rows": 9, "columns": 2, "entries": 30, "seconds": 1.5}
    rows = {"task-0": 300, "task-1": 2000}
    facts = {name: shipped.Facts(task=name, rows=count, **common) for name, count in rows.items()}

    shipped.write_rows(shipped.facts_file(pack), facts.values(), shipped.Facts)

    assert shipped.read_facts(pack) == facts
    found = sets.sets_of(pack)
    assert [set(found[f"task-{n}"]) & {"micro", "small"} for n in range(3)] == [
        {"micro", "small"},
        {"small"},
        set(),
    ]
    shipped.facts_file(pack).write_text("task,rows\nx,many\n")
    with pytest.raises(TaskError, match="is not the facts table of a pack"):
        sets.sets_of(pack)
