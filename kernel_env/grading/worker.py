"""Run the grading process, which forks a child for each submission.

The messages are described in `kernel_env.grading.host`.
"""

import json
import math
import os
import resource
import runpy
import select
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
"""The address space of a child that grades one submission."""
SECONDS = 300
"""The time limit for one submission."""
WORK_DIR_BYTES = 64 * 1024**2
"""The largest file, beyond the submission's size, that a free-form `grade.py` can write."""


def serve(requests: IO[bytes], responses: IO[bytes]) -> None:
    """Handle requests until the host closes its end."""
    import pandas  # noqa: F401, ICN001 - imported once here, shared by every child
    import sklearn.metrics  # noqa: F401

    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(requests.read(*LENGTH.unpack(head)))
        data = requests.read(request["bytes"])
        responses.write(packed(grade(request, data)))
        responses.flush()


def grade(request: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Grade in a child; a `grade.py` that reads the file itself gets a work dir."""
    if request["form"]["id_columns"]:
        return grade_in_child(request, data, None)
    work_dir = temporary.folder()
    try:
        return grade_in_child(request, data, work_dir)
    finally:
        temporary.remove(work_dir)


def grade_in_child(
    request: Mapping[str, Any], data: bytes, work_dir: Path | None
) -> dict[str, Any]:
    """Fork a child, grade in it within the limits, and return its response."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read_end)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(
                null, 1
            )  # stdout carries the responses; a metric that prints would corrupt them
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            writable = len(data) + WORK_DIR_BYTES if work_dir else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (writable, writable))
            if work_dir:
                os.dup2(null, 2)  # external code writes progress to stderr
            os.write(write_end, json.dumps(respond(request, data, work_dir)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    try:
        ready, _, _ = select.select([read_end], [], [], SECONDS)
        response = os.read(read_end, 1 << 16) if ready else b""
        if not ready:
            os.kill(pid, signal.SIGKILL)
            return {"kind": "failed", "why": f"grading took longer than {SECONDS} s"}
        if not response:
            return {
                "kind": "failed",
                "why": "the grading process exited without a result (memory limit?)",
            }
        result: dict[str, Any] = json.loads(response)
        return result
    finally:
        os.close(read_end)
        os.waitpid(pid, 0)


def respond(request: Mapping[str, Any], data: bytes, work_dir: Path | None) -> dict[str, Any]:
    """Return the scores, the reason for a rejection, or the failure."""
    schema = SubmissionSchema(
        **{**request["form"], "id_columns": tuple(request["form"]["id_columns"])}
    )
    try:
        if work_dir:
            return {"kind": "scores", "scores": free_form_scores(request, data, work_dir)}
        return {"kind": "scores", "scores": table_scores(request, schema, data)}
    except SubmissionError as error:
        return {"kind": "refused", "why": str(error)}
    except MemoryError:
        return {
            "kind": "refused",
            "why": "grading the submission exceeds the memory limit; write a smaller file",
        }
    except Exception as error:  # noqa: BLE001 - a metric can raise anything; it becomes a TaskError
        where = traceback.extract_tb(error.__traceback__)[-1]
        why = (
            str(error) if isinstance(error, KernelEnvError) else f"{type(error).__name__}: {error}"
        )
        return {
            "kind": "failed",
            "why": f"the metric failed: {why} ({Path(where.filename).name}:{where.lineno})",
        }


def table_scores(
    request: Mapping[str, Any], schema: SubmissionSchema, data: bytes
) -> dict[str, float]:
    """Score the rows of each split separately."""
    import pandas as pd

    from kernel_env.grading import metric, submission

    table = pd.read_csv(request["answers"], dtype=str, keep_default_na=False)
    ids = table[list(schema.id_columns)]
    predicted = submission.parse(data, schema, ids)
    try:
        truth = submission.targets(table, schema)
    except SubmissionError as error:
        raise TaskError(f"the answers are wrong: {error}") from error
    result = {}
    for split in request["splits"]:
        rows = table["Usage"] == split
        if request["grade_file"]:
            score = runpy.run_path(request["grade_file"])["grade"]
            value = score(
                pd.concat([ids, truth], axis=1)[rows].reset_index(drop=True),
                pd.concat([ids, predicted], axis=1)[rows].reset_index(drop=True),
            )
        else:
            known = metric.find(request["metric"])
            value = known.score(truth[rows], predicted[rows])
            if not is_finite(value) and is_finite(known.score(truth[rows], truth[rows])):
                raise SubmissionError(f"{request['metric']} of these predictions is {value}")
        result[split.lower()] = checked(value)
    return result


def free_form_scores(request: Mapping[str, Any], data: bytes, work_dir: Path) -> dict[str, float]:
    """Score a file with a `grade.py` that reads it; the score counts for every split."""
    submission = work_dir / "submission.csv"
    submission.write_bytes(data)
    score = runpy.run_path(request["grade_file"])["grade"]
    value = checked(score(Path(request["answers"]), submission))
    return {split.lower(): value for split in request["splits"]}


def checked(value: Any) -> float:
    """Return a metric's value. Raises `TaskError` for one that is not a finite number."""
    if not is_finite(value):
        raise TaskError(f"the metric gave {value!r}; it must give a finite number")
    return float(value)


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number, so that it can be ranked."""
    return isinstance(value, int | float) and math.isfinite(value)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
