"""The importers over whole checkouts, where environment variables say that they are here."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import pytest

from kernel_env.cli import main
from kernel_env.grading.leaderboard import human_rank
from kernel_env.tasks import spec
from support import checkouts
from support.checkouts import state

LOADS = """
import json, sys
from pathlib import Path
from kernel_env.errors import TaskError
from kernel_env.tasks.sources import foreign, mle_bench
said = {}
for home in map(Path, json.load(sys.stdin)):
    try:
        if (home / "config.yaml").is_file():
            config = mle_bench.read_config(home / "config.yaml")
            mle_bench.called(home, *mle_bench.function(config, "preparer"))
            mle_bench.called(home, *mle_bench.function(config, "grader.grade_fn"))
        else:
            module = foreign.load(home / "utils" / "metric.py")
            base = module.CompetitionMetrics
            classes = [c for c in vars(module).values() if isinstance(c, type)]
            (metric,) = [c for c in classes if issubclass(c, base) and c is not base]
            said[home.name] = metric().higher_is_better
            foreign.load(home / "utils" / "prepare.py")
    except TaskError as error:
        said[home.name] = str(error)
print(json.dumps(said))
"""
"""Loads foreign code as the grading and the preparing process do; a package that is missing is said."""


def checkout(variable: str) -> Path:
    """A checkout that this machine has."""
    if not os.environ.get(variable):
        pytest.skip(f"needs {variable}, the path of a checkout")
    return Path(os.environ[variable])


def imported(benchmark: str, path: Path, into: Path) -> tuple[dict[str, spec.Task], list[str]]:
    """Every task of a checkout, by its name there, and what was said of the others."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    try:
        sys.argv = ["kernel-env", "tasks", "import", benchmark, str(path), "--into", str(into)]
        sys.argv.append("--json")
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert not ended.value.code, err.getvalue()
    folders = [json.loads(line)["folder"] for line in out.getvalue().splitlines()]
    tasks = [spec.load(Path(folder)) for folder in folders]
    named = {task.file.origin.id: task for task in tasks if task.file.origin}
    return named, [line for line in err.getvalue().splitlines() if line.startswith("left out")]


def loaded(homes: list[Path]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", LOADS],
        input=json.dumps([str(home) for home in homes]),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def missing_packages(said: dict[str, object]) -> dict[str, str]:
    """What could not be loaded, each for a package that is not installed and for nothing else."""
    failed = {name: text for name, text in said.items() if isinstance(text, str)}
    assert [text for text in failed.values() if "No module named" not in text] == []
    return failed


def test_all_of_mle_dojo(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLE_DOJO")
    before = state(path)
    homes = sorted((path / "mledojo" / "competitions").glob("*/"))
    homes = [home for home in homes if (home / "utils").is_dir()]

    tasks, left = imported("mle-dojo", path, tmp_path)

    assert left == []
    assert sorted(tasks) == [home.name for home in homes]
    stubs = [t for t in tasks.values() if t.file.origin and "empty stub" in t.file.origin.todo]
    kept = [h for h in homes if not ast.parse((h / "utils" / "prepare.py").read_text()).body]
    assert len(stubs) == len(kept)
    said = loaded(homes)
    missing = missing_packages(said)
    for name, task in tasks.items():
        assert name in missing or task.scoring.higher_is_better is said[name]
        assert len(task.description) > 200
    for home in homes:
        same_rank(home / "info", tasks[home.name])
    assert state(path) == before


def same_rank(info: Path, task: spec.Task) -> None:
    """The human rank of scores on, between and beyond a competition's boards is MLE-Dojo's."""
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


def test_all_of_mle_bench(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLE_BENCH")
    before = state(path)
    homes = sorted((path / "mlebench" / "competitions").glob("*/"))
    homes = [home for home in homes if (home / "config.yaml").is_file()]
    whole = path
    pointers = [h for h in homes if b"git-lfs" in (h / "leaderboard.csv").read_bytes()[:40]]
    if pointers:  # a clone without Git LFS: a board of our own in a copy, to see the rest
        whole = tmp_path / "copy"
        shutil.copytree(path / "mlebench", whole / "mlebench")
        for home in pointers:
            board = whole / "mlebench" / "competitions" / home.name / "leaderboard.csv"
            checkouts.table(board, ("score",), (0.9,), (0.8,))

    tasks, left = imported("mle-bench", whole, tmp_path / "into")

    assert left == []
    assert sorted(tasks) == [home.name for home in homes]
    assert all(len(task.description) > 200 for task in tasks.values())
    assert len(missing_packages(loaded(homes))) < len(homes) / 4
    assert state(path) == before


def test_all_of_dsbench(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_DSBENCH")
    before = state(path)

    tasks, left = imported("dsbench", path, tmp_path)

    programs = list((path / "data_modeling" / "evaluation").glob("*_eval.py"))
    assert len(tasks) == len(programs) - 2
    assert left == [
        "left out: amazon-employee-access-challenge, covid19-global-forecasting-week-5: nothing"
        " says whether more is better: save_performance lacks its GT and its baseline"
    ]
    assert tasks["titanic"].scoring.higher_is_better
    assert not tasks["bike-sharing-demand"].scoring.higher_is_better
    assert state(path) == before


def test_all_of_mlagentbench(tmp_path: Path) -> None:
    path = checkout("KERNEL_ENV_MLAGENTBENCH")
    before = state(path)

    tasks, left = imported("mlagentbench", path, tmp_path)

    assert {name for name, task in tasks.items() if not task.scoring.higher_is_better} == {
        "amp-parkinsons-disease-progression-prediction",
        "feedback",
        "house-price",
        "vectorization",
    }
    assert len(tasks) == 10
    assert left == [
        "left out: CLRS, babylm: its eval.py reads no submission.csv: it judges a model that the"
        " agent saves",
        "left out: bibtex-generation, literature-review-tool, llama-inference: it has no eval.py,"
        " and so no score",
    ]
    assert state(path) == before
