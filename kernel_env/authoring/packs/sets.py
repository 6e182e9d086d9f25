"""Name sets of a pack's tasks, for suites and training.

`train`, `validation` and `test` divide the tasks so that no data family is on two sides; which side
a family is on depends on its name alone, so it stays there when a pack grows. `micro` and `small`
are tasks of few rows. `diverse-30` takes kinds of questions in turn, from different data families.
"""

import hashlib
from collections import defaultdict
from itertools import cycle

from kernel_env.authoring.packs.manifest import Pack
from kernel_env.authoring.packs.shipped import read_facts

SIDES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""The share of data families on each side."""
ROWS = {"micro": 300, "small": 2000}
"""The largest number of training rows of a task in these sets."""
DIVERSE = "diverse-30"
DIVERSE_COUNT = 30


def side(family: str) -> str:
    """Return the side of a data family: `train`, `validation` or `test`."""
    share = int(hashlib.sha256(family.encode()).hexdigest()[:8], 16) / 2**32
    for name, part in SIDES.items():
        if share < part:
            return name
        share -= part
    return name


def sets_of(pack: Pack) -> dict[str, list[str]]:
    """Return the sets of each task of a pack, by the tasks' names."""
    facts = read_facts(pack)
    diverse = choose_diverse(pack)
    found = {}
    for name, task in pack.file.task.items():
        known = facts.get(name)
        rows = [each for each, most in ROWS.items() if known is not None and known.rows <= most]
        found[name] = [side(task.family), *rows, *([DIVERSE] if name in diverse else [])]
    return found


def choose_diverse(pack: Pack) -> set[str]:
    """Return tasks of different data families, from one kind of question after another."""
    by_question: dict[str, list[str]] = defaultdict(list)
    for name in sorted(pack.file.task, key=lambda name: hashlib.sha256(name.encode()).digest()):
        by_question[pack.file.task[name].question].append(name)
    chosen: set[str] = set()
    families: set[str] = set()
    for question in cycle(sorted(by_question)):
        names = by_question[question]
        if len(chosen) == DIVERSE_COUNT or not any(by_question.values()):
            return chosen
        while names:
            name = names.pop(0)
            if (family := pack.file.task[name].family) not in families:
                families.add(family)
                chosen.add(name)
                break
    return chosen
