"""Grade synthetic submissions to a checkout's tasks twice: by its own code, and by ours."""

import json
import math
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.tasks import environments, spec
from kernel_env.tasks.prepare import grading_spec, prepare, sample_submission
from support import checkouts
from support.originals.preparing import digests

TESTS = Path(__file__).parents[1]
DIGITS = 9
EXTRA = {"mle-bench": ["appdirs", "diskcache", "tenacity"]}
"""What a benchmark's own package imports on the way to its graders; it decides no score."""

ENVIRONMENTS = {"mlagentbench": "mlagentbench-torch"}
"""The environment of a benchmark's own code, if it is not the one with its name."""

Outcome = Mapping[str, Any]
"""`score`, or `refused` with the reason, or `task_failed`."""


@dataclass(kw_only=True)
class Comparison:
    """What a comparison of a benchmark's grades with ours has counted."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: dict[str, str] = field(default_factory=dict)
    """By task and submission: both outcomes."""
    without: dict[str, str] = field(default_factory=dict)
    """Tasks that are not compared, with the reason."""

    def add(self, name: str, theirs: Outcome, ours: Outcome) -> None:
        """Count a pair of outcomes."""
        self.counts["submissions"] += 1
        if "score" in theirs and "score" in ours:
            same = math.isclose(theirs["score"], ours["score"], rel_tol=10**-DIGITS, abs_tol=1e-12)
            self.counts["equal" if same else "different"] += 1
        else:
            same = "refused" in theirs and "refused" in ours
            self.counts["both refuse" if same else "different"] += 1
        if not same:
            self.differences[name] = f"theirs {dict(theirs)}, ours {dict(ours)}"[:600]


def copied(benchmark: str, path: Path, into: Path) -> Path:
    """Copy what is needed of a checkout; complete what a clone without Git LFS lacks.

    MLE-bench's checksums are left out: synthetic data is not what it prepares.
    """
    package = {"mle-bench": "mlebench", "mle-dojo": "mledojo", "dsbench": "data_modeling"}
    name = package.get(benchmark, "MLAgentBench")
    shutil.copytree(path / name, into / name, symlinks=True)
    for file in into.glob("mlebench/competitions/*/checksums.yaml"):
        file.unlink()
    for board in into.glob("mlebench/competitions/*/leaderboard.csv"):
        if board.read_bytes().startswith(b"version https://git-lfs"):
            checkouts.table(board, ("score",), (0.9,), (0.8,))
    return into


def run_original(module: str, benchmark: str, *argv: str | Path, extra: Path) -> list[Any]:
    """Run a module of `support.originals` with a benchmark's libraries; return its rows.

    Args:
        module: the module.
        benchmark: the benchmark.
        argv: the checkout, and the module's other arguments.
        extra: where the packages are installed that the benchmark's own package needs.
    """
    interpreter = environments.make(ENVIRONMENTS.get(benchmark, benchmark))
    assert interpreter is not None
    if benchmark in EXTRA and not extra.is_dir():
        uv = [*(environments.uv_command() or ["uv"]), "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*uv, "--target", extra, *EXTRA[benchmark]], check=True)
    path = os.pathsep.join(map(str, (TESTS, argv[0], extra)))
    variables = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [interpreter.python, "-W", "ignore", "-m", module, benchmark, *argv],
        env={**os.environ, **variables, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


async def compare(tasks: Mapping[str, spec.Task], rows: list[Any], texts: Path) -> Comparison:
    """Grade the submissions by our own route, and compare.

    Args:
        tasks: the imported tasks by their original ids.
        rows: what `support.originals` printed.
        texts: the folder with the submissions.
    """
    found = Comparison()
    async with Grader() as grader:
        for row in rows:
            id_ = row["id"]
            found.counts["imported"] += 1
            if not row["found"]:
                found.without[id_] = f"no table found: {row.get('errors') or row.get('refused')}"
                continue
            found.counts["graded"] += 1
            found.counts["perfect and random differ"] += row["quality"] == 3
            origin = tasks[id_].file.origin
            assert origin is not None
            environments.make(origin.code_environment)
            try:
                how = grading_spec(tasks[id_], prepare(tasks[id_]))
            except TaskError as error:
                found.differences[id_] = f"not prepared: {error}"
                continue
            for name, theirs in row["outcomes"].items():
                ours: dict[str, object] = {}
                try:
                    data = (texts / id_ / f"{name}.csv").read_bytes()
                    ours["score"] = (await grader.grade(data, how, ("Private",))).private
                except SubmissionError as error:
                    ours["refused"] = str(error)
                except TaskError as error:
                    ours["task_failed"] = str(error)
                found.add(f"{id_}: {name}", theirs, ours)
    return found


async def compare_prepared(tasks: Mapping[str, spec.Task], rows: list[Any]) -> Comparison:
    """Prepare the raw data by our own route; compare the files, and the grade of the sample.

    Args:
        tasks: the imported tasks by their original ids.
        rows: what `support.originals.preparing` printed.
    """
    found = Comparison()
    async with Grader() as grader:
        for row in rows:
            id_ = row["id"]
            found.counts["with a prepare function"] += 1
            if "digests" not in row:
                found.without[id_] = f"{row['refused']} ({row.get('where')})"
                continue
            found.counts["prepared"] += 1
            try:
                prepared = prepare(tasks[id_])
            except TaskError as error:
                found.differences[id_] = str(error)
                continue
            ours = digests(prepared.public, prepared.answers)
            theirs = {name: it for name, it in row["digests"].items() if name not in OVERWRITTEN}
            found.counts["files"] += len(theirs)
            if other := [name for name, digest in theirs.items() if ours.get(name) != digest]:
                found.differences[id_] = f"other files: {other}"
            if more := ours.keys() - theirs.keys() - OVERWRITTEN:
                found.differences[id_] = f"more files: {sorted(more)}"
            if "sample" in row:
                outcome: dict[str, object] = {}
                sample = sample_submission(prepared)
                assert sample is not None
                try:
                    how = grading_spec(tasks[id_], prepared)
                    scores = await grader.grade(sample.read_bytes(), how, ("Private",))
                    outcome["score"] = scores.private
                except (SubmissionError, TaskError) as error:
                    outcome["refused"] = str(error)
                found.add(f"{id_}: its sample submission", row["sample"], outcome)
    return found


OVERWRITTEN = {
    "public/description.md",
    "public/sample_submission.csv",
    "private/sample_submission.csv",
}
"""What our prepared folders have under these names is not what the benchmark's code writes."""
