"""Import complete checkouts, whose paths are in environment variables."""

import ast
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from kernel_env.errors import DownloadError
from kernel_env.grading.leaderboard import human_rank
from kernel_env.tasks import environments, spec
from support import checkouts
from support.checkouts import state
from support.importing import run_command

LOAD_PROGRAM = """
import json, sys
from pathlib import Path
from kernel_env.errors import TaskError
from kernel_env.authoring.importers import external_code, mle_bench
results = {}
for home in map(Path, json.load(sys.stdin)):
    try:
        if (home / "config.yaml").is_file():
            config = mle_bench.read_config(home / "config.yaml")
            for key in ("preparer", "grader.grade_fn"):
                mle_bench.load_function(home, *mle_bench.function_reference(config, key))
        else:
            module = external_code.load_module(home / "utils" / "metric.py")
            base = module.CompetitionMetrics
            classes = [c for c in vars(module).values() if isinstance(c, type)]
            (metric,) = [c for c in classes if issubclass(c, base) and c is not base]
            results[home.name] = metric().higher_is_better
            external_code.load_module(home / "utils" / "prepare.py")
    except TaskError as error:
        results[home.name] = str(error)
print(json.dumps(results))
"""
"""A program that loads external code and prints each metric's direction, or the error."""


def checkout(variable: str) -> Path:
    """Return the path of a checkout, or skip the test."""
    if not os.environ.get(variable):
        pytest.skip(f"needs {variable}, the path of a checkout")
    return Path(os.environ[variable])


def import_all(
    benchmark: str, path: Path, into: Path, data: Path | None = None
) -> tuple[dict[str, spec.Task], list[str]]:
    """Import all tasks of a checkout; return them by their original id, and the skip messages."""
    options = ["--data", data] if data else []
    done = run_command("tasks", "import", benchmark, path, "--into", into, "--json", *options)
    tasks = [spec.load(Path(str(row["folder"]))) for row in done.rows]
    by_id = {task.file.origin.id: task for task in tasks if task.file.origin}
    return by_id, [line for line in done.stderr.splitlines() if line.startswith("left out")]


def load_code(homes: list[Path], benchmark: str) -> dict[str, object]:
    """Load the code of competitions in a process; return each metric's direction or the error.

    The process runs in the benchmark's environment if that can be made.
    """
    try:
        interpreter = environments.make(benchmark)
    except DownloadError:
        interpreter = None
    python = interpreter.python if interpreter else sys.executable
    modules = {"PYTHONPATH": str(interpreter.modules)} if interpreter else {}
    done = subprocess.run(
        [python, "-c", LOAD_PROGRAM],
        env={**os.environ, **modules},
        input=json.dumps([str(home) for home in homes]),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def missing_packages(results: dict[str, object]) -> dict[str, str]:
    """Return the errors, after a check that each is about a package that is not installed."""
    failed = {name: text for name, text in results.items() if isinstance(text, str)}
    assert [text for text in failed.values() if "No module named" not in text] == []
    return failed


def test_all_of_mle_dojo_is_imported(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLE_DOJO")
    before = state(path)
    homes = sorted((path / "mledojo" / "competitions").glob("*/"))
    homes = [home for home in homes if (home / "utils").is_dir()]

    tasks, skipped = import_all("mle-dojo", path, tmp_path)

    assert skipped == []
    assert sorted(tasks) == [home.name for home in homes]
    stubs = [t for t in tasks.values() if t.file.origin and "empty stub" in t.file.origin.todo]
    kept = [h for h in homes if not ast.parse((h / "utils" / "prepare.py").read_text()).body]
    assert len(stubs) == len(kept)
    results = load_code(homes, "mle-dojo")
    missing = missing_packages(results)
    assert not missing or environments.interpreter("mle-dojo") is None
    for name, task in tasks.items():
        assert name in missing or task.scoring.higher_is_better is results[name]
        assert len(task.description) > 200
    for home in homes:
        check_rank(home / "info", tasks[home.name])
    assert state(path) == before


def check_rank(info: Path, task: spec.Task) -> None:
    """Compare the human rank with MLE-Dojo's for scores on, between and beyond the boards'."""
    import pandas as pd

    up = task.scoring.higher_is_better
    names = ("private", "public")
    boards = [pd.read_csv(info / f"{name}_leaderboard.csv").iloc[:, 1].to_numpy() for name in names]
    everybody = sorted({float(score) for board in boards for score in board})
    few = everybody[:: max(1, len(everybody) // 20)]
    for score in [few[0] - 1, *few, *((a + b) / 2 for a, b in pairwise(few))]:
        shares = []
        for board in boards:
            rows = sorted(board, reverse=up)
            beats = (n for n, row in enumerate(rows, 1) if (score >= row if up else score <= row))
            position = next(beats, len(rows) + 1)
            shares.append((len(rows) - position + 1) / len(rows))
        board = task.leaderboard
        found = human_rank(
            board.place(score, "Public", higher_is_better=up),
            board.place(score, "Private", higher_is_better=up),
        )
        assert found == sum(shares) / len(shares)


def test_all_of_mle_bench_is_imported(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLE_BENCH")
    before = state(path)
    homes = sorted((path / "mlebench" / "competitions").glob("*/"))
    homes = [home for home in homes if (home / "config.yaml").is_file()]
    source = path
    pointers = [h for h in homes if b"git-lfs" in (h / "leaderboard.csv").read_bytes()[:40]]
    if pointers:  # a clone without Git LFS: use a copy with our own leaderboards
        source = tmp_path / "copy"
        shutil.copytree(path / "mlebench", source / "mlebench")
        for home in pointers:
            board = source / "mlebench" / "competitions" / home.name / "leaderboard.csv"
            checkouts.table(board, ("score",), (0.9,), (0.8,))

    tasks, skipped = import_all("mle-bench", source, tmp_path / "into")

    assert skipped == []
    assert sorted(tasks) == [home.name for home in homes]
    assert all(len(task.description) > 200 for task in tasks.values())
    missing = missing_packages(load_code(homes, "mle-bench"))
    assert not missing or environments.interpreter("mle-bench") is None
    assert state(path) == before


def test_all_of_dsbench_is_imported(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_DSBENCH")
    before = state(path)

    tasks, skipped = import_all("dsbench", path, tmp_path)

    programs = list((path / "data_modeling" / "evaluation").glob("*_eval.py"))
    assert len(tasks) == len(programs) - 2
    assert skipped == [
        "left out: amazon-employee-access-challenge, covid19-global-forecasting-week-5: the"
        " metric's direction is unknown: save_performance lacks GT or baseline"
    ]
    assert tasks["titanic"].scoring.higher_is_better
    assert not tasks["bike-sharing-demand"].scoring.higher_is_better
    assert state(path) == before


def test_all_of_mlagentbench_is_imported(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLAGENTBENCH")
    before = state(path)

    tasks, skipped = import_all("mlagentbench", path, tmp_path)

    assert {name for name, task in tasks.items() if not task.scoring.higher_is_better} == {
        "amp-parkinsons-disease-progression-prediction",
        "feedback",
        "house-price",
    }
    assert len(tasks) == 7
    assert skipped == [
        "left out: CLRS, babylm: its eval.py reads no submission.csv: it judges a model that the"
        " agent saves",
        "left out: bibtex-generation, literature-review-tool, llama-inference: it has no eval.py,"
        " and so no score",
        "left out: fathomnet: half of its score comes from random numbers, drawn anew at each grading",
        "left out: imdb: its programs download data from a hub while they run, and sandboxes have no"
        " network",
        "left out: vectorization: its score is a run time that the agent's own program writes down",
    ]
    assert state(path) == before
