"""Build small checkouts in the formats of other benchmarks."""

import csv
import hashlib
import json
import zipfile
from pathlib import Path

ROWS = [(n, n / 10, n % 2) for n in range(40)]
"""The rows (id, x, y) of every task's raw table."""
TEST = ROWS[30:]
TRUTH = [y for *_, y in TEST]
"""The targets of the test rows."""
WRONG = [1 - y for y in TRUTH]
"""Targets that differ from the truth in every row."""


def write(path: Path, text: str) -> Path:
    """Write a text file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def table(path: Path, *rows: object) -> Path:
    """Write a CSV file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def state(folder: Path) -> dict[str, str]:
    """Return the content hash, mode and modification time of every file below a folder."""
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
        f" {path.stat().st_mode:o} {path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    } | {
        f"{path.relative_to(folder)}/": ""
        for path in sorted(folder.rglob("*"))
        if path.is_dir() and ".git" not in path.parts
    }


def submission(*targets: object, columns: tuple[str, ...] = ("id", "y")) -> bytes:
    """Build a submission with a target for each of the ten test rows, in order."""
    lines = [",".join(columns)]
    lines += [f"{row[0]},{y}" for row, y in zip(TEST, targets, strict=True)]
    return "\n".join(lines).encode() + b"\n"


# ── MLE-Dojo ──────────────────────────────────────────────────────────────────────────────

DOJO_METRIC = """
import pandas as pd
from mledojo.metrics.base import CompetitionMetrics, InvalidSubmissionError


class {name}(CompetitionMetrics):
    def __init__(self, value: str = "y", higher_is_better: bool = {higher}):
        super().__init__(higher_is_better)
        self.value = value

    def evaluate(self, y_true, y_pred):
        true = y_true.sort_values("id")[self.value].to_numpy()
        predicted = y_pred.sort_values("id")[self.value].to_numpy()
        return {formula}

    def validate_submission(self, submission, ground_truth):
        if len(submission) != len(ground_truth):
            raise InvalidSubmissionError(f"{{len(submission)}} rows\\nare not {{len(ground_truth)}}.")
        return "fine"
"""
DOJO_PREPARE = """
import shutil
from pathlib import Path
from mledojo.competitions.utils import extract, get_logger, read_csv

logger = get_logger(__name__)


def prepare(raw: Path, public: Path, private: Path):
    extract(raw / "table.zip", raw)
    rows = read_csv(raw / "table.csv")
    rows[:30].to_csv(public / "train.csv", index=False)
    rows[30:].drop(columns="y").to_csv(public / "test.csv", index=False)
    rows[30:][["id", "y"]].to_csv(private / "test_answer.csv", index=False)
    rows[30:][["id"]].assign(y=0).to_csv(public / "sample_submission.csv", index=False)
    shutil.rmtree(raw)
"""
PUBLIC_BOARD = (0.9, 0.8, 0.8, 0.5)
PRIVATE_BOARD = (0.95, 0.7, 0.7)


def mle_dojo(folder: Path) -> Path:
    """Write a checkout of MLE-Dojo.

    `CherryPicking` has raw data, the prepare.py of `leftovers` is a stub, and the metric of
    `sideways` has no direction.
    """
    homes = folder / "mledojo" / "competitions"
    for id_, name, higher, formula, prepare in (
        ("CherryPicking", "CherryMetrics", "True", "(true == predicted).mean()", DOJO_PREPARE),
        (
            "leftovers",
            "LeftoverMetrics",
            "False",
            "abs(true - predicted).mean()",
            "# to be written\n",
        ),
        ("sideways", "SidewaysMetrics", "None", "0.5", "# to be written\n"),
    ):
        home = homes / id_
        metric = DOJO_METRIC.format(name=name, higher=higher, formula=formula)
        write(home / "utils" / "metric.py", metric)
        write(home / "utils" / "prepare.py", prepare)
        write(home / "info" / "description.txt", f"# {id_}\n\nPredict y for every id.\n")
        for board, scores in (("public", PUBLIC_BOARD), ("private", PRIVATE_BOARD)):
            path = home / "info" / f"{board}_leaderboard.csv"
            table(path, ("rank", "score"), *enumerate(scores, 1))
    tags = ["Tabular", "Binary Classification"]
    about = {"CherryPicking": {"title": "Cherry picking: which are ripe?", "tags": tags}}
    write(folder / "prepare" / "mle.json", json.dumps(about))
    write(folder / "prepare" / "dsbench.json", json.dumps({"leftovers": {"title": "Left"}}))
    rules = {"CherryPicking": "https://example.org/rules"}
    write(folder / "prepare" / "licenses.json", json.dumps(rules))
    raw = folder / "data" / "prepared" / "CherryPicking" / "raw"
    archive(raw / "table.zip")
    return folder


def archive(path: Path) -> None:
    """Write a zip archive with the raw table."""
    path.parent.mkdir(parents=True)
    lines = ["id,x,y", *(",".join(map(str, row)) for row in ROWS)]
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("table.csv", "\n".join(lines) + "\n")


# ── MLE-bench ─────────────────────────────────────────────────────────────────────────────

BENCH_CONFIG = """\
id: {id}
name: "Ripe: or not?"
competition_type: simple
awards_medals: true
prizes:
  - position: 1
    value: 100
description: mlebench/competitions/{id}/description.md

dataset:
  answers: {id}/prepared/private/{answers}
  sample_submission: {id}/prepared/public/sampleSubmission.csv

grader:
  name: {metric}  # from the competition's page
  grade_fn: mlebench.competitions.{id}.grade:grade

preparer: mlebench.competitions.{id}.prepare:prepare
"""
BENCH_PREPARE = """
from pathlib import Path
from mlebench.utils import extract, read_csv


def prepare(raw: Path, public: Path, private: Path):
    extract(raw / "table.zip", raw)
    rows = read_csv(raw / "table.csv")
    rows[:30].to_csv(public / "train.csv", index=False)
    rows[30:].drop(columns="y").to_csv(public / "test.csv", index=False)
    rows[30:][["id", "y"]].to_csv(private / "test.csv", index=False)
    rows[30:][["id"]].assign(y=0.5).to_csv(public / "sampleSubmission.csv", index=False)
"""
BENCH_GRADE = """
import pandas as pd
from mlebench.competitions.utils import aligned
from mlebench.grade_helpers import InvalidSubmissionError
from .constants import TARGET


def grade(submission: pd.DataFrame, answers: pd.DataFrame) -> float:
    if TARGET not in submission:
        raise InvalidSubmissionError(f"no column {TARGET}")
    true, predicted = aligned(submission, answers)
    return ((true - predicted) ** 2).mean() ** 0.5
"""
BENCH_UTILS = """
from mlebench.utils import get_logger

logger = get_logger(__name__)


def aligned(submission, answers):
    submission, answers = submission.sort_values("id"), answers.sort_values("id")
    assert submission["id"].tolist() == answers["id"].tolist(), "other ids"
    return answers["y"].to_numpy(), submission["y"].to_numpy()
"""
POINTER = """\
version https://git-lfs.github.com/spec/v1
oid sha256:0000000000000000000000000000000000000000000000000000000000000000
size 12345
"""
BENCH_BOARD = [round(0.1 + n / 100, 2) for n in range(20)]


def mle_bench(folder: Path) -> Path:
    """Write a checkout of MLE-bench.

    `ripe-fruit` is complete; the leaderboard of `far-fruit` is a Git LFS pointer.
    """
    homes = folder / "mlebench" / "competitions"
    write(homes / "__init__.py", "")
    write(homes / "utils.py", BENCH_UTILS)
    write(homes.parent / "__init__.py", "")
    write(homes.parent / "utils.py", "raise ImportError('the original has many dependencies')\n")
    write(
        homes.parent / "grade_helpers.py",
        "raise ImportError('the original has many dependencies')\n",
    )
    for id_ in ("ripe-fruit", "far-fruit"):
        home = homes / id_
        config = BENCH_CONFIG.format(id=id_, answers="test.csv", metric="rmse")
        write(home / "config.yaml", config)
        write(home / "description.md", "# Ripe?\n\nPredict y for every id.\n")
        write(home / "prepare.py", BENCH_PREPARE)
        write(home / "grade.py", BENCH_GRADE)
        write(home / "constants.py", 'TARGET = "y"\n')
        table(home / "leaderboard.csv", ("score",), *((score,) for score in BENCH_BOARD))
    write(homes / "far-fruit" / "leaderboard.csv", POINTER)
    return folder


# ── DSBench ───────────────────────────────────────────────────────────────────────────────

DS_EVALUATION = """
import argparse
import os.path
import pandas as pd

parser = argparse.ArgumentParser()
for name in ("path", "name", "answer_file", "predict_file"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--value", default="y")
args = parser.parse_args()
true = pd.read_csv(args.answer_file)
predicted = pd.read_csv(args.predict_file)
print("output")
with open(os.path.join(args.path, args.name, "result.txt"), "w") as file:
    file.write(str((true[args.value] - predicted[args.value]).abs().mean()))
"""


def dsbench(folder: Path) -> Path:
    """Write a checkout of DSBench.

    `leftovers` has results; `nowhere` has none, so its metric has no direction.
    """
    home = folder / "data_modeling"
    for id_ in ("leftovers", "nowhere"):
        write(home / "evaluation" / f"{id_}_eval.py", DS_EVALUATION)
    with zipfile.ZipFile(home / "save_performance.zip", "w") as packed:
        for model, score in (("GT", 0.0), ("baseline", 0.5), ("gpt", 0.25), ("failed", "nan")):
            packed.writestr(f"save_performance/{model}/leftovers/result.txt", str(score))
            packed.writestr(f"__MACOSX/save_performance/{model}/leftovers/._result.txt", "junk")
    return folder


def dsbench_data(folder: Path) -> Path:
    """Write the content of DSBench's data.zip.

    The sample submission is the competition's own and has other ids.
    """
    resplit = folder / "data" / "data_resplit" / "leftovers"
    table(resplit / "train.csv", ("id", "x", "y"), *ROWS[:30])
    table(resplit / "test.csv", ("id", "x"), *(row[:2] for row in TEST))
    table(resplit / "sampleSubmission.csv", ("id", "y"), (7777, 1), (7778, 1))
    answers = folder / "data" / "answers" / "leftovers" / "test_answer.csv"
    table(answers, ("id", "y"), *((id_, y) for id_, _, y in TEST))
    write(folder / "data" / "task" / "leftovers.txt", "Predict y for the leftovers.\n")
    return folder


# ── MLAgentBench ──────────────────────────────────────────────────────────────────────────

ML_EVAL = """
import os
import sys
sys.path.append("../env")
import pandas as pd
from helper import error


def get_score(submission_folder="../env"):
    predicted = pd.read_csv(os.path.join(submission_folder, "submission.csv"))
    true = pd.read_csv(os.path.join(os.path.dirname(__file__), "answer.csv"))
    return error(predicted["y"], true["y"])
"""
ML_PREPARE = """
import pandas as pd

rows = pd.read_csv("../env/train.csv")
rows[:30].to_csv("../env/train.csv", index=False)
rows[30:].drop(columns="y").to_csv("../env/test.csv", index=False)
rows[30:].to_csv("answer.csv", index=False)
"""


def mlagentbench(folder: Path) -> Path:
    """Write a checkout of MLAgentBench.

    `fruit-price` has a prepare.py, the prepare.py of `asking` asks for consent, `saving` judges a
    saved model, and `free` has no score.
    """
    homes = folder / "MLAgentBench" / "benchmarks"
    write(homes.parent / "plot.py", 'lower_the_better_tasks = ["Price", "other"]\n')
    for id_ in ("fruit-price", "asking", "saving", "free"):
        home = homes / id_
        problem = "Improve train.py; leave submission.csv.\n"
        write(home / "scripts" / "research_problem.txt", problem)
        write(home / "env" / "helper.py", "def error(a, b):\n    return (a - b).abs().mean()\n")
        table(home / "env" / "train.csv", ("id", "x", "y"), *ROWS)
        if id_ == "free":
            continue
        code = ML_EVAL.replace("submission.csv", "best.pkl") if id_ == "saving" else ML_EVAL
        write(home / "scripts" / "eval.py", code)
        consent = 'input("Do you consent?")\n' if id_ == "asking" else ""
        write(home / "scripts" / "prepare.py", consent + ML_PREPARE)
        write(home / "scripts" / "read_only_files.txt", "./train.csv\n./test.csv")
    return folder
