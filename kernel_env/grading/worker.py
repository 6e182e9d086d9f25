"""Grade in a process of its own, a forked child per submission."""

import json
import math
import os
import resource
import runpy
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from kernel_env import temporary
from kernel_env.errors import KernelEnvError, SubmissionError, TaskError
from kernel_env.grading.messages import LENGTH, packed
from kernel_env.grading.submission import SubmissionSchema

MEMORY_BYTES = 8 * 1024**3
"""Address space of the child that grades one submission."""


SECONDS = 300
"""For one submission."""


WORK_DIR_BYTES = 64 * 1024**2
"""A `grade.py` that reads the file itself may write files up to this size beside it."""


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the host closes its end."""
    import pandas  # noqa: F401, ICN001 - imported once here, shared by every child
    import sklearn.metrics  # noqa: F401

    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(requests.read(*LENGTH.unpack(head)))
        data = requests.read(request["bytes"])
        answers.write(packed(in_a_child(request, data)))
        answers.flush()


def in_a_child(request: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Grade in a child, at a desk of its own if the task's `grade.py` reads the file itself."""
    if request["form"]["id_columns"]:
        return forked(request, data, None)
    work_dir = temporary.folder()
    try:
        return forked(request, data, work_dir)
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def forked(request: Mapping[str, Any], data: bytes, work_dir: Path | None) -> dict[str, Any]:
    """Fork, grade within the limits, and take what the child says."""
    outside, inside = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(outside)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)  # a metric that prints must not speak to the host
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            writable = len(data) + WORK_DIR_BYTES if work_dir else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (writable, writable))
            if work_dir:
                os.dup2(null, 2)  # other people's code talks as it goes
            os.write(inside, json.dumps(answer(request, data, work_dir)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(inside)
    try:
        ready, _, _ = select.select([outside], [], [], SECONDS)
        said = os.read(outside, 1 << 16) if ready else b""
        if not ready:
            os.kill(pid, signal.SIGKILL)
            return {"kind": "failed", "why": f"grading took longer than {SECONDS} s"}
        if not said:
            return {"kind": "failed", "why": "grading ended without a word (memory limit?)"}
        result: dict[str, Any] = json.loads(said)
        return result
    finally:
        os.close(outside)
        os.waitpid(pid, 0)


def answer(request: Mapping[str, Any], data: bytes, work_dir: Path | None) -> dict[str, Any]:
    """Scores, the reason of a refusal, or what failed."""
    form = SubmissionSchema(
        **{**request["form"], "id_columns": tuple(request["form"]["id_columns"])}
    )
    try:
        if work_dir:
            return {"kind": "scores", "scores": whole_score(request, data, work_dir)}
        return {"kind": "scores", "scores": scores(request, form, data)}
    except SubmissionError as error:
        return {"kind": "refused", "why": str(error)}
    except MemoryError:
        return {"kind": "refused", "why": "the submission needs more memory than grading may use"}
    except Exception as error:  # noqa: BLE001 - a metric may fail in any way; it becomes a TaskError
        where = traceback.extract_tb(error.__traceback__)[-1]
        why = (
            str(error) if isinstance(error, KernelEnvError) else f"{type(error).__name__}: {error}"
        )
        return {
            "kind": "failed",
            "why": f"the metric failed: {why} ({Path(where.filename).name}:{where.lineno})",
        }


def scores(request: Mapping[str, Any], form: SubmissionSchema, data: bytes) -> dict[str, float]:
    """Score the rows of each split by themselves."""
    import pandas as pd

    from kernel_env.grading import metric, submission

    table = pd.read_csv(request["answers"], dtype=str, keep_default_na=False)
    ids = table[list(form.id_columns)]
    predicted = submission.parse(data, form, ids)
    try:
        truth = submission.targets(table, form)
    except SubmissionError as error:
        raise TaskError(f"the answers are wrong: {error}") from error
    result = {}
    for split in request["splits"]:
        rows = table["Usage"] == split
        if request["grade_file"]:
            grade = runpy.run_path(request["grade_file"])["grade"]
            value = grade(
                pd.concat([ids, truth], axis=1)[rows].reset_index(drop=True),
                pd.concat([ids, predicted], axis=1)[rows].reset_index(drop=True),
            )
        else:
            stock = metric.find(request["metric"])
            value = stock.score(truth[rows], predicted[rows])
            if not finite(value) and finite(stock.score(truth[rows], truth[rows])):
                raise SubmissionError(f"{request['metric']} of these predictions is {value}")
        if not finite(value):
            raise TaskError(f"the metric gave {value!r}; it must give a finite number")
        result[split.lower()] = float(value)
    return result


def whole_score(request: Mapping[str, Any], data: bytes, work_dir: Path) -> dict[str, float]:
    """The score that a `grade.py` gives which reads the file itself; the whole is both splits."""
    submission = work_dir / "submission.csv"
    submission.write_bytes(data)
    grade = runpy.run_path(request["grade_file"])["grade"]
    value = grade(Path(request["answers"]), submission)
    if not finite(value):
        raise TaskError(f"the metric gave {value!r}; it must give a finite number")
    return {split.lower(): float(value) for split in request["splits"]}


def finite(value: Any) -> bool:
    """Whether it is a number that can be ranked."""
    return isinstance(value, int | float) and math.isfinite(value)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
