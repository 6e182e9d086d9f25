"""Read what a suite has found: the results that count, and what is missing and why.

A reader needs only the suite's folder: `jobs.json` lists the jobs of the latest start, and the
records have the rest. What was played with other settings is kept, and is not among them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import parse_result
from kernel_env.errors import SandboxError, UsageError
from kernel_env.field_docs import show_fields
from kernel_env.suite.history import History, fold
from kernel_env.suite.log import Fault, Started, read_folder

JOBS = "jobs.json"
VERSION = 1
"""The version of `jobs.json`. A newer one is refused."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class ListedJob:
    """A job of a suite, for a reader who does not have its tasks."""

    key: str
    agent: str
    """The agent's name in the suite file."""
    task: str
    seed: int


@show_fields
@dataclass(frozen=True, kw_only=True)
class JobList:
    """The jobs of a suite's latest start."""

    name: str
    """The suite's name."""
    anchor: str
    """The agent with which each is compared; empty if the file names none."""
    jobs: tuple[ListedJob, ...]
    v: int = VERSION


JOB_LIST = TypeAdapter(JobList)


@show_fields
@dataclass(frozen=True, kw_only=True)
class Missing:
    """A job without a result."""

    job: ListedJob
    reason: str
    """Who failed, and why; empty if it has not been played yet."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class SuiteRecords:
    """What a suite has found."""

    jobs: JobList
    results: tuple[EpisodeResult, ...]
    """The episodes that count, in the order of the jobs."""
    missing: tuple[Missing, ...]
    attempts: tuple[EpisodeResult, ...]
    """The results of all attempts at these jobs, also of those that do not count."""

    def label_of(self, result: EpisodeResult) -> str:
        """Return what the suite file calls the agent of a result; empty if it is another's."""
        return self._labels.get(result.key, "")

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {job.key: job.agent for job in self.jobs.jobs}


def read_suite(folder: Path) -> SuiteRecords:
    """Read the folder of a suite, of all its shares. Raises `UsageError`."""
    jobs = read_jobs(folder)
    histories = fold(read_folder(folder))
    results, missing, attempts = [], [], []
    for job in jobs.jobs:
        history = histories.get(job.key)
        found = records_in(history) if history else []
        attempts += [result_in(folder, record) for record in found]
        if history and history.finished and history.finished.record:
            results.append(result_in(folder, history.finished.record))
        else:
            missing.append(Missing(job=job, reason=reason_in(history)))
    return SuiteRecords(
        jobs=jobs, results=tuple(results), missing=tuple(missing), attempts=tuple(attempts)
    )


def records_in(history: History) -> list[dict[str, Any]]:
    """Return the records of all attempts at a job."""
    return [record for attempt in history.attempts if (record := attempt.record)]


def reason_in(history: History | None) -> str:
    """Return why a job has no result; empty if it was not played."""
    if history is None:
        return ""
    ending = history.last.ending if history.last else None
    fault = history.unstarted or ending
    if not isinstance(fault, Fault):
        return "it is being played, or its driver was killed"
    return f"{fault.failure}: {fault.reason}"


def result_in(folder: Path, record: dict[str, Any]) -> EpisodeResult:
    """Return a record of a suite as a result whose notebook can be found."""
    result = parse_result(record, where=f"a record in {folder}")
    return replace(result, notebook=str(folder / result.notebook))


def record_of(result: EpisodeResult, folder: Path, started: Started, suite: str) -> dict[str, Any]:
    """Return a result as the record of an attempt.

    Its notebook is relative to the suite's folder, so that the folder can be moved. An agent of a
    file is named without the file's folder.
    """
    notebook = Path(result.notebook)
    inside = notebook.relative_to(folder) if notebook.is_relative_to(folder) else notebook
    return replace(
        result,
        agent=Path(result.agent).name,
        notebook=str(inside),
        suite=suite,
        key=started.key,
        grade_key=started.grade_key,
        attempt=started.attempt,
    ).json()


# ── the list of jobs ──────────────────────────────────────────────────────────────────────


def write_jobs(folder: Path, name: str, anchor: str, jobs: Sequence[ListedJob]) -> None:
    """Write the list of jobs, at once or not at all. Raises `SandboxError`."""
    path, partial = folder / JOBS, folder / f"{JOBS}.partial"
    content = asdict(JobList(name=name, anchor=anchor, jobs=tuple(jobs)))
    try:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise SandboxError(f"{path} cannot be written: {error.strerror}") from error


def read_jobs(folder: Path) -> JobList:
    """Read the list of jobs. Raises `UsageError`."""
    path = folder / JOBS
    try:
        found = json.loads(path.read_bytes())
        version = found["v"]
        jobs = JOB_LIST.validate_python(found) if version <= VERSION else None
    except FileNotFoundError as error:
        raise UsageError(f"{folder} is not the folder of a suite: it has no {JOBS}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not the list of a suite's jobs: {error}") from error
    if jobs is None:
        raise UsageError(
            f"{path} has version {version}; this kernel_env reads up to {VERSION}: install a"
            " newer one"
        )
    return jobs
