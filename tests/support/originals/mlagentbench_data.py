"""Write synthetic data sets into a copy of MLAgentBench's checkout.

A prepare.py asks for consent at a terminal and downloads from Kaggle; what it leaves is written
here. That of ogbn-arxiv downloads too, unless the files are there: it runs.
"""

import gzip
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import numpy as np

SIDE, PICTURES = 256, 12
NODES, FIRST_TEST = 40, 20
GRAPH = "ogbn-arxiv"


def complete(home: Path) -> None:
    """Write what the graders read beside a table of answers, and mark these as prepared."""
    for path in home.glob("*/scripts/prepare.py"):
        if path.parents[1].name != GRAPH:
            path.with_name("prepared").write_text("success")
    for name, (start, width) in masks().items():
        mask = np.zeros((SIDE, SIDE, 1), dtype=np.int32)
        mask[:, start : start + width] = 1
        folder = home / "identify-contrails" / "scripts" / "test_answer" / name
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "human_pixel_masks.npy", mask)
    # This module comes with the competition's data.
    module = home / "amp-parkinsons-disease-progression-prediction" / "env"
    (module / "public_timeseries_testing_util.py").write_text("class MockApi: ...\n")
    graph(home / GRAPH / "env" / "networks" / "ogbn_arxiv")
    scripts = home / GRAPH / "scripts"
    subprocess.run([sys.executable, "prepare.py"], cwd=scripts, check=True, capture_output=True)


def masks() -> dict[str, tuple[int, int]]:
    """Return the first column and the width of each picture's mask."""
    random = Random(1)
    return {str(1000 + n): (random.randint(0, 200), random.randint(1, 30)) for n in range(PICTURES)}


def classes() -> list[int]:
    """Return the classes of the nodes."""
    random = Random(2)
    return [random.randint(0, 39) for _ in range(NODES)]


def graph(home: Path) -> None:
    """Write the files of ogbn-arxiv with few nodes."""
    random = Random(1)
    edges = [(random.randrange(NODES), random.randrange(NODES)) for _ in range(90)]
    tables: dict[str, Iterable[Sequence[object]]] = {
        "raw/edge": edges,
        "raw/node-feat": [[round(random.random(), 3) for _ in range(4)] for _ in range(NODES)],
        "raw/node-label": [[kind] for kind in classes()],
        "raw/node_year": [[2017]] * NODES,
        "raw/num-node-list": [[NODES]],
        "raw/num-edge-list": [[len(edges)]],
        "split/time/train": [[n] for n in range(10)],
        "split/time/valid": [[n] for n in range(10, FIRST_TEST)],
        "split/time/test": [[n] for n in range(FIRST_TEST, NODES)],
    }
    for name, rows in tables.items():
        path = home / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()))
    (home / "RELEASE_v1.txt").write_text("")
