"""Grade submissions in a separate process, with limits on time and memory.

`Grader` is the host's side: bytes in, scores or the reason for a rejection out. The other side,
`python -m kernel_env.grading.worker`, imports pandas and scikit-learn once and then forks a
child for each submission, so that a crash while grading ends only that child.

A message is its length (eight bytes), then JSON. The submission's bytes follow a request.
"""

import asyncio
import json
import os
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
    """How a task's submissions are graded."""

    answers: Path
    """A CSV file with the schema's columns and Kaggle's `Usage` column (Public or Private). For a
    free-form schema: the folder with the answers."""
    schema: SubmissionSchema
    metric: str | None
    """A metric's name; None if the task has its own metric in `grade_file`."""
    grade_file: Path | None = None
    """A Python file with `grade(answers, submission) -> float`. Both arguments are tables with
    all columns. For a free-form schema both are paths, and the score counts for both splits. The
    function rejects a submission with `SubmissionError`."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A submission's scores in the metric's units; None for a split that was not requested."""

    public: float | None = None
    private: float | None = None


class Grader:
    """A grading process. It starts with the first submission, not when the block is entered."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

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
        """Kill the process and its children, and remove their work dirs."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            for work_dir in temporary.folders_of(process.pid):
                temporary.remove(work_dir)

    async def warm_up(self) -> None:
        """Start the process now, so that the first grade does not wait for its imports."""
        async with self._lock:
            await self._started()

    async def grade(
        self, data: bytes, grading_spec: GradingSpec, splits: tuple[Split, ...]
    ) -> Scores:
        """Score a submission on the splits.

        Args:
            data: the submission's bytes.
            grading_spec: the answers, the schema and the metric.
            splits: the splits to score.

        Raises:
            SubmissionError: the submission cannot be graded; the message gives the reason.
            TaskError: the metric or the answers failed, which is not the agent's fault.
        """
        request = {
            "answers": os.fspath(grading_spec.answers),
            "form": asdict(grading_spec.schema),
            "metric": grading_spec.metric,
            "grade_file": os.fspath(grading_spec.grade_file) if grading_spec.grade_file else None,
            "splits": splits,
            "bytes": len(data),
        }
        async with self._lock:
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(packed(request) + data)
                await process.stdin.drain()
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                response = json.loads(await process.stdout.readexactly(length))
            except (OSError, asyncio.IncompleteReadError) as error:
                raise TaskError(
                    "the grading process ended while it graded; read its log on stderr"
                ) from error
            except asyncio.CancelledError:
                await self._end()  # its response would be read as the one to the next request
                raise
        match response["kind"]:
            case "scores":
                return Scores(**response["scores"])
            case "refused":
                raise SubmissionError(response["why"])
        raise TaskError(response["why"])

    async def _started(self) -> asyncio.subprocess.Process:
        """Return the running process; start it if there is none."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "kernel_env.grading.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # Ctrl-C must reach only the host
            )
        return self._process


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""The environment of the grading process: it forks, so it must not start threads."""
