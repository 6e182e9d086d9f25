"""Grade in a process of its own: bytes in, a score or a reason out, with limits on time and memory.

`Grader` is the host's side. The other side, `python -m kernel_env.grading.worker`,
imports pandas and scikit-learn once and then forks a child for each submission, so
that a submission or a metric that runs wild takes only that child with it.

One message is eight bytes of length, then JSON; a request is followed by the
submission's bytes.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kernel_env import temporary
from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.leaderboard import Split
from kernel_env.grading.messages import LENGTH, packed
from kernel_env.grading.submission import SubmissionSchema


@dataclass(frozen=True, kw_only=True)
class GradingSpec:
    """How a task's submissions are marked."""

    answers: Path
    """A CSV file with the form's columns and Kaggle's `Usage` column (Public or Private); for a
    free form, the folder of whatever answers there are."""
    form: SubmissionSchema
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
            for work_dir in temporary.of(process.pid):
                shutil.rmtree(work_dir, ignore_errors=True)

    async def warm_up(self) -> None:
        """Start the process now, so that the first grade need not wait for its imports."""
        async with self._one_at_a_time:
            await self._started()

    async def grade(
        self, data: bytes, grading_spec: GradingSpec, splits: tuple[Split, ...]
    ) -> Scores:
        """Score a submission on the splits.

        Raises:
            SubmissionError: the agent's submission cannot be graded, and why.
            TaskError: the metric or the answers failed; the agent is not to blame.
        """
        request = {
            "answers": os.fspath(grading_spec.answers),
            "form": asdict(grading_spec.form),
            "metric": grading_spec.metric,
            "grade_file": os.fspath(grading_spec.grade_file) if grading_spec.grade_file else None,
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
                "kernel_env.grading.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the host to handle, not for its grader
            )
        return self._process


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A process that forks must not have threads."""
