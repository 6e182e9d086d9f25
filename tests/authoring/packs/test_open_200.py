"""The pack that comes with the package keeps what it promises, as far as its manifest shows."""

import csv
from pathlib import Path

from kernel_env.authoring import packs
from kernel_env.authoring.packs.making import key
from kernel_env.authoring.packs.sets import SIDES, sets_of
from kernel_env.authoring.packs.shipped import board_file, read_checks, read_facts
from kernel_env.tasks import catalog

PACK = packs.find("open-200")
TASKS = PACK.file.task
OF_PLAIN_TABLES = {
    *("yes-no", "category", "grade", "rare-event"),
    *("amount", "price", "count", "duration", "share"),
}
"""The questions that ask for one value of a row that is independent of the others."""


def test_there_are_two_hundred_tasks_of_many_kinds() -> None:
    assert len(TASKS) >= 200
    assert len({task.question for task in TASKS.values()}) >= 20
    plain = [name for name, task in TASKS.items() if task.question in OF_PLAIN_TABLES]
    assert len(plain) <= 110
    assert len(TASKS) - len(plain) >= 60
    assert not TASKS.keys() & {path.name for path in catalog.bundled_folder().glob("*/")}


def test_each_task_says_where_its_data_and_licence_come_from() -> None:
    for name, task in TASKS.items():
        assert "non-commercial" not in task.licence.lower(), name
        assert "(" in task.licence or "public domain" in task.licence, name
        assert task.about, name
        assert task.columns, name


def test_no_data_family_is_on_two_sides() -> None:
    sides: dict[str, set[str]] = {}
    for name, found in sets_of(PACK).items():
        sides.setdefault(TASKS[name].family, set()).update(set(found) & set(SIDES))

    assert all(len(found) == 1 for found in sides.values())


def test_boards_and_facts_belong_together() -> None:
    facts = read_facts(PACK)

    assert set(facts) == {path.stem for path in board_file(PACK, "").parent.iterdir()} == set(TASKS)
    for name, known in facts.items():
        with board_file(PACK, name).open(newline="") as file:
            entries = list(csv.DictReader(file))
        assert len(entries) == known.entries
        assert len({entry["private_score"] for entry in entries}) > 3, name
    assert {known for found in sets_of(PACK).values() for known in found} >= {
        *SIDES,
        "micro",
        "small",
    }


def test_results_of_checks_are_of_tasks_as_they_are_now() -> None:
    checks = read_checks(PACK)

    assert {name: known.key for name, known in checks.items()} == {
        name: key(PACK, name) for name in checks
    }
    assert all(known.passed > 15 and not known.not_run for known in checks.values())
    flawed = sum(bool(known.failed) for known in checks.values())
    page = (Path(__file__).parents[3] / "docs" / "reference" / "packs.md").read_text()
    said = f"{len(checks)} of {len(TASKS)} tasks are checked by now; {flawed} of these have a flaw"
    assert said in " ".join(page.split())
