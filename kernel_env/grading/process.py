"""Grade in a process of its own: bytes in, a score or a reason out, with limits on time and memory.

`Grader` is the host's side. The other side, `python -m kernel_env.grading.process`,
imports pandas and scikit-learn once and then forks a child for each submission, so
that a submission or a metric that runs wild takes only that child with it.

One message is eight bytes of length, then JSON; a request is followed by the
submission's bytes.
"""

import asyncio
import json
import math
import os
import resource
import runpy
import select
import shutil
import signal
import struct
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from kernel_env import temporary
from kernel_env.errors import KernelEnvError, SubmissionError, TaskError
from kernel_env.grading.leaderboard import Split
from kernel_env.grading.submission import Form

MEMORY_BYTES = 8 * 1024**3
"""Address space of the child that grades one submission."""
SECONDS = 300
"""For one submission."""
DESK_BYTES = 64 * 1024**2
"""A `grade.py` that reads the file itself may write files up to this size beside it."""
LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, kw_only=True)
class Marking:
    """How a task's submissions are marked."""

    answers: Path
    """A CSV file with the form's columns and Kaggle's `Usage` column (Public or Private); for a
    free form, the folder of whatever answers there are."""
    form: Form
    metric: str | None
    """A metric's name; None when `grade_file` has the task's own."""
    grade_file: Path | None = None
    """A Python file with `grade(answers, submission) -> float`, both tables with all columns; for
    a free form both paths, and the whole is one split. `SubmissionError` refuses a submission."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A submission's scores, in the metric's units; None for a split that was not asked for."""

    public: float | None = None
    private: float | None = None


class Grader:
    """A grading process. Entering costs nothing: it starts with the first submission."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        """End the process and the children it grades in."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            for desk in temporary.of(process.pid):
                shutil.rmtree(desk, ignore_errors=True)

    async def warm_up(self) -> None:
        """Start the process now, so that the first grade need not wait for its imports."""
        async with self._one_at_a_time:
            await self._started()

    async def grade(self, data: bytes, marking: Marking, splits: tuple[Split, ...]) -> Scores:
        """Score a submission on the splits.

        Raises:
            SubmissionError: the agent's submission cannot be graded, and why.
            TaskError: the metric or the answers failed; the agent is not to blame.
        """
        request = {
            "answers": os.fspath(marking.answers),
            "form": asdict(marking.form),
            "metric": marking.metric,
            "grade_file": os.fspath(marking.grade_file) if marking.grade_file else None,
            "splits": splits,
            "bytes": len(data),
        }
        async with self._one_at_a_time:
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(packed(request) + data)
                await process.stdin.drain()
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                answer = json.loads(await process.stdout.readexactly(length))
            except (OSError, asyncio.IncompleteReadError) as error:
                raise TaskError("the grading process ended while it graded; see its log") from error
            except asyncio.CancelledError:
                await self._end()  # half a message was exchanged: it cannot be used again
                raise
        match answer["kind"]:
            case "scores":
                return Scores(**answer["scores"])
            case "refused":
                raise SubmissionError(answer["why"])
        raise TaskError(answer["why"])

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "kernel_env.grading.process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the host to handle, not for its grader
            )
        return self._process


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A process that forks must not have threads."""


def packed(message: Mapping[str, Any]) -> bytes:
    """One message."""
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


# ── inside the grading process ────────────────────────────────────────────────────────────


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
    desk = temporary.folder()
    try:
        return forked(request, data, desk)
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def forked(request: Mapping[str, Any], data: bytes, desk: Path | None) -> dict[str, Any]:
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
            writable = len(data) + DESK_BYTES if desk else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (writable, writable))
            if desk:
                os.dup2(null, 2)  # other people's code talks as it goes
            os.write(inside, json.dumps(answer(request, data, desk)).encode())
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


def answer(request: Mapping[str, Any], data: bytes, desk: Path | None) -> dict[str, Any]:
    """Scores, the reason of a refusal, or what failed."""
    form = Form(**{**request["form"], "id_columns": tuple(request["form"]["id_columns"])})
    try:
        if desk:
            return {"kind": "scores", "scores": whole_score(request, data, desk)}
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


def scores(request: Mapping[str, Any], form: Form, data: bytes) -> dict[str, float]:
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


def whole_score(request: Mapping[str, Any], data: bytes, desk: Path) -> dict[str, float]:
    """The score that a `grade.py` gives which reads the file itself; the whole is both splits."""
    submission = desk / "submission.csv"
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
