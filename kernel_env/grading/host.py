"""Grade submissions in a separate process, with limits on time and memory.

`Grader` is the host's side: bytes in, scores or the reason for a rejection out. The other side,
`python -m kernel_env.grading.worker`, imports pandas and what the metric needs once, and then forks
for each submission. It gets none of the host's environment but what finds programs and libraries.

A message of the control socket names modules to import. That of a request comes with one end of a
socket pair. On the pair, a message is its length (eight bytes), then JSON. The bytes of submissions
follow a request. A closed pair cancels its request.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_env import temporary
from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading import metric
from kernel_env.grading.leaderboard import Split
from kernel_env.grading.messages import LENGTH, packed
from kernel_env.grading.submission import SubmissionSchema

SECONDS = 300.0
"""The longest that scoring one submission can take."""
QUICK_SECONDS = 20.0
"""How long scoring takes at most, unless a known submission takes a tenth of it or more."""
AT_ONCE = max(4, os.cpu_count() or 1)
"""How many submissions are graded at the same time; others wait."""
ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")
"""The variables of the host that the grading process gets: what finds programs and libraries."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Variables of the grading process: it forks, so it must not start threads."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python with the libraries that a task's code was written for."""

    python: Path
    """The program."""
    modules: Path
    """A folder that has our own package and nothing else, for its module path."""


@dataclass(frozen=True, kw_only=True)
class GradingSpec:
    """How a task's submissions are graded."""

    answers: Path
    """A CSV file with the schema's columns and Kaggle's `Usage` column (Public or Private). For a
    free-form schema: the folder with the answers."""
    schema: SubmissionSchema
    metric: str | None
    """A metric's name; None if the task has its own metric in `grade_file`."""
    metric_column: str | None = None
    """The column of the answers that the metric reads beside the targets; None: it reads none."""
    grade_file: Path | None = None
    """A Python file with `grade(answers, submission) -> float`. Both arguments are tables with
    all columns. For a free-form schema both are paths, and the score counts for both splits. The
    function rejects a submission with `SubmissionError`."""
    sample: Path | None = None
    """A submission that must be gradable, the task's sample submission; None if there is none."""
    interpreter: Interpreter | None = None
    """The Python that `grade_file` needs; None for this one."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Return the modules that the grading process imports once for all submissions."""
        return metric.find(self.metric).imports if self.metric else metric.SKLEARN


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A submission's scores in the metric's units; None for a split that was not requested."""

    public: float | None = None
    private: float | None = None
    content: str = field(default="", compare=False)
    """SHA-256 of the predictions: of the parsed rows in the order of the answers, so neither the
    order of rows nor the notation of numbers matters. For a free-form schema: of the file."""
    note: str = field(default="", compare=False)
    """What the agent should know about its predictions; empty if nothing is odd."""
    resolution: float | None = field(default=None, compare=False)
    """The standard error of the difference to the public score of `rival`; None without one."""


@dataclass(frozen=True, kw_only=True)
class KnownGood:
    """How a submission that must be gradable was graded."""

    scores: Scores | None
    """Of the sample submission; None if there is none that can be graded."""
    seconds: float | None
    """How long scoring took; None if nothing that is known can be graded: the task is broken."""


class Grader:
    """A grading process. It starts with the first submission, not when the block is entered.

    Tasks that need another Python are graded in a second process, which runs that.

    Args:
        interpreter: the Python that runs the process; None for this one.
    """

    def __init__(self, interpreter: "Interpreter | None" = None) -> None:
        self._interpreter = interpreter
        self._others: dict[Interpreter, Grader] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._folder: Path | None = None
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._known: dict[object, KnownGood] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()
        for other in self._others.values():
            await other.__aexit__(None, None, None)

    def _for(self, grading_spec: GradingSpec) -> "Grader":
        """Return the grader whose process runs the Python that a task needs."""
        wanted = grading_spec.interpreter
        if wanted is None or wanted == self._interpreter:
            return self
        return self._others.setdefault(wanted, Grader(wanted))

    async def _end(self) -> None:
        """End the process and its children, and remove their work dirs."""
        process, self._process = self._process, None
        if self._control is not None:
            self._control.close()
        if process is not None and process.returncode is None:
            # The kernel ends the children of a request's process with it (`child.confine`).
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._folder is not None:
            temporary.remove(self._folder)

    async def warm_up(self, grading_spec: GradingSpec) -> None:
        """Start the process now, so that the first grade does not wait for its imports."""
        if (other := self._for(grading_spec)) is not self:
            await other.warm_up(grading_spec)
            return
        await self._started()
        assert self._control is not None
        with suppress(OSError):  # it has ended: the first grade starts another
            self._control.send(import_request(grading_spec))

    async def grade(
        self,
        data: bytes,
        grading_spec: GradingSpec,
        splits: tuple[Split, ...],
        *,
        rival: bytes | None = None,
    ) -> Scores:
        """Score a submission on the splits.

        Args:
            data: the submission's bytes.
            grading_spec: the answers, the schema and the metric.
            splits: the splits to score.
            rival: another submission; the scores have the resolution of the comparison then. Not
                for a free-form schema.

        Raises:
            SubmissionError: the submission cannot be graded; the message gives the reason.
            TaskError: the metric or the answers failed, which is not the agent's fault.
        """
        if (other := self._for(grading_spec)) is not self:
            return await other.grade(data, grading_spec, splits, rival=rival)
        files = [data] if rival is None else [data, rival]
        seconds = QUICK_SECONDS if has_known_good(grading_spec) else SECONDS
        response = await self._ask(grading_spec, splits, files, seconds)
        if response["kind"] == "failed":
            known = await self._known_good(grading_spec)
            if known.seconds is None:
                raise TaskError(response["why"])
            allowed = min(SECONDS, 10 * known.seconds)
            if response.get("failure") == "time" and allowed > QUICK_SECONDS:
                response = await self._ask(grading_spec, splits, files, allowed)
        match response["kind"]:
            case "scores":
                return Scores(**response["scores"])
            case "refused":
                raise SubmissionError(response["why"])
            case "failed":
                raise SubmissionError(
                    f"{response['public']}; others can be graded:"
                    " use the columns, rows and types of sample_submission.csv"
                )
        raise TaskError(response["why"])

    async def sample_scores(self, grading_spec: GradingSpec) -> Scores | None:
        """Return the scores of the sample submission; None if it is missing or has none."""
        if (other := self._for(grading_spec)) is not self:
            return await other.sample_scores(grading_spec)
        return (await self._known_good(grading_spec)).scores

    async def _known_good(self, grading_spec: GradingSpec) -> KnownGood:
        """Grade what must be gradable: the sample submission, else the answers themselves."""
        files = (grading_spec.answers, grading_spec.grade_file, grading_spec.sample)
        times = [path.stat().st_mtime_ns if path and path.exists() else 0 for path in files]
        key = (grading_spec, *times)
        if key not in self._known:
            self._known[key] = await self._grade_known(grading_spec)
        return self._known[key]

    async def _grade_known(self, grading_spec: GradingSpec) -> KnownGood:
        both: tuple[Split, ...] = ("Public", "Private")
        if grading_spec.sample is not None and grading_spec.sample.is_file():
            sample = await asyncio.to_thread(grading_spec.sample.read_bytes)
            response = await self._ask(grading_spec, both, [sample], SECONDS)
            if response["kind"] == "scores":
                return KnownGood(scores=Scores(**response["scores"]), seconds=response["seconds"])
        if not grading_spec.schema.is_free_form:
            response = await self._ask(grading_spec, both, [], SECONDS)
            if response["kind"] == "scores":
                return KnownGood(scores=None, seconds=response["seconds"])
        return KnownGood(scores=None, seconds=None)

    # ── requests ──────────────────────────────────────────────────────────────────────────

    async def _ask(
        self,
        grading_spec: GradingSpec,
        splits: tuple[Split, ...],
        files: Sequence[bytes],
        seconds: float,
    ) -> dict[str, Any]:
        """Send a request and return the response. Raises `TaskError` if the process ended."""
        request = {
            "answers": os.fspath(grading_spec.answers),
            "form": asdict(grading_spec.schema),
            "metric": grading_spec.metric,
            "metric_column": grading_spec.metric_column,
            "grade_file": os.fspath(grading_spec.grade_file) if grading_spec.grade_file else None,
            "splits": splits,
            "seconds": seconds,
            "bytes": [len(data) for data in files],
        }
        async with self._slots:
            await self._started()
            assert self._control is not None
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    message = import_request(grading_spec)
                    socket.send_fds(self._control, [message], [theirs.fileno()])
                reader, writer = await asyncio.open_unix_connection(sock=ours)
            except OSError as error:
                ours.close()
                raise TaskError(ENDED) from error
            try:
                writer.write(packed(request))
                for data in files:
                    writer.write(data)
                await writer.drain()
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                response: dict[str, Any] = json.loads(await reader.readexactly(length))
                return response
            except (OSError, asyncio.IncompleteReadError) as error:
                raise TaskError(ENDED) from error
            finally:
                writer.close()

    async def _started(self) -> None:
        """Start the process if it does not run."""
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            await self._end()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._folder = temporary.folder()
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    self._interpreter.python if self._interpreter else sys.executable,
                    "-P",
                    "-m",
                    "kernel_env.grading.worker",
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    env=environment(self._folder, self._interpreter),
                    start_new_session=True,  # Ctrl-C must reach only the host
                )


def import_request(grading_spec: GradingSpec) -> bytes:
    """Return a message of the control socket: the modules to import."""
    return json.dumps(grading_spec.imports).encode()


def has_known_good(grading_spec: GradingSpec) -> bool:
    """Return whether there is something that must be gradable, so that its time can be taken."""
    sample = grading_spec.sample
    return not grading_spec.schema.is_free_form or (sample is not None and sample.is_file())


ENDED = "the grading process ended while it graded; read its log on stderr"


def environment(folder: Path, interpreter: Interpreter | None = None) -> dict[str, str]:
    """Return the environment of the grading process: nothing of the host's that could be secret.

    Args:
        folder: where temporary files are written.
        interpreter: the Python that runs the process; None for this one.
    """
    known = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    modules = {"PYTHONPATH": os.fspath(interpreter.modules)} if interpreter else {}
    return {**known, **modules, **ONE_THREAD, "TMPDIR": os.fspath(folder)}
