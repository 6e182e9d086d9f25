"""Decide what becomes of a job, from what has happened to it.

| who failed | what follows |
|---|---|
| nobody, or the agent | it is done: the episode counts |
| the model's service | played again, at most 5 times |
| the machine | played again, at most 3 times |
| the agent's set-up | its agent stops; a later start of the suite tries again |
| the task | the task stops for all agents |
| kernel_env | not played again; the suite stops after three of one kind |
| the operator | played again when the suite is started again |

What is not played again by itself is `missing`: it counts in no rating, until `kernel-env suite
retry` lets it be played again.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel_env.suite.history import History
from kernel_env.suite.log import Fault, Finished
from kernel_env.suite.plan import Job

RETRIES = {"model": 5, "machine": 3}
"""How often a job is played again, by who failed."""
FIRST_DELAY_S = 5.0
MAX_DELAY_S = 600.0
"""The longest wait before another attempt; it doubles with each."""
MAX_ASKED_S = 3600.0
"""The longest wait that a model's service may ask for."""
SAME_CRASHES = 3
"""The suite stops after so many crashes of one kind."""
REPEATS = 3
"""A job that the machine ended so often, where others finish, may have done it itself."""

State = Literal["done", "running", "due", "waiting", "missing"]
"""`due`: to be played; `waiting`: to be played later; `missing`: not played again by itself."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a job stands."""

    state: State
    fault: Fault | None = None
    """Why it is waiting or missing, or is played again."""

    @property
    def reason(self) -> str:
        """Return who failed, and why."""
        return f"{self.fault.failure}: {self.fault.reason}" if self.fault else ""


def standing_of(history: History | None, grade_key: str, retries: int | None) -> Standing:
    """Return where a job stands.

    Args:
        history: what has happened to it; None for nothing.
        grade_key: the current one of its task; empty if it is not known.
        retries: the suite's limit; None for `RETRIES`.
    """
    if history is None or (history.last is None and history.unstarted is None):
        return Standing(state="due")
    if history.finished:
        return Standing(state="done")
    if history.unstarted:
        return Standing(state="due", fault=history.unstarted)
    assert history.last is not None
    fault = history.last.ending
    if fault is None:
        return Standing(state="running")
    assert isinstance(fault, Fault)
    if fault.attempt <= history.pardoned:
        return Standing(state="due", fault=fault)
    match fault.failure:
        case "model" | "machine":
            times = sum(each.failure == fault.failure for each in history.faults)
            limit = RETRIES[fault.failure] if retries is None else retries
            return Standing(state="missing" if times > limit else "waiting", fault=fault)
        case "us":
            return Standing(state="missing", fault=fault)
        case "task":
            mended = grade_key and history.last.started.grade_key != grade_key
            return Standing(state="due" if mended else "missing", fault=fault)
    return Standing(state="due", fault=fault)


def standings_of(
    jobs: Sequence[Job],
    histories: Mapping[str, History],
    grade_keys: Mapping[str, str],
    retries: int | None,
) -> dict[str, Standing]:
    """Return where each job stands, by its key. A task that failed is missing for all agents.

    Args:
        jobs: the jobs.
        histories: what has happened to each, by its key.
        grade_keys: the current one of each task.
        retries: the suite's limit; None for `RETRIES`.
    """
    found = {
        job.key: standing_of(histories.get(job.key), grade_keys.get(job.task, ""), retries)
        for job in jobs
    }
    failed = {
        job.task: standing
        for job in jobs
        if (standing := found[job.key]).state == "missing" and is_of_task(standing.fault)
    }
    for job in jobs:
        if job.task in failed and found[job.key].state in ("due", "waiting"):
            found[job.key] = failed[job.task]
    return found


def is_of_task(fault: Fault | None) -> bool:
    """Return whether a task failed."""
    return fault is not None and fault.failure == "task"


def delay_s(key: str, attempt: int) -> float:
    """Return the seconds before the next attempt: 5 s · 2ⁿ, at most ten minutes, with jitter.

    The jitter takes off up to half. It depends on the job alone, so that jobs that failed together
    do not return together.
    """
    delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 30))
    digest = hashlib.sha256(f"{key} {attempt}".encode()).digest()
    return delay * (1 - int.from_bytes(digest[:4], "big") / 2**33)


def retry_at(key: str, attempt: int, failure: str, asked_s: float | None = None) -> float | None:
    """Return when a job may be played again, seconds since 1970; None: not by itself.

    Args:
        key: the job's key.
        attempt: the number of the attempt that failed.
        failure: who failed; see `endings`.
        asked_s: the pause that the model's service asked for, at most an hour of which is made.
    """
    if failure not in RETRIES:
        return None
    return time.time() + max(delay_s(key, attempt), min(asked_s or 0.0, MAX_ASKED_S))


def kind_of_crash(fault: Fault) -> str:
    """Return what crashes of one kind have in common: the reason without its numbers."""
    return re.sub(r"\d+", "", fault.reason)


def is_repeatable(job: Job, jobs: Iterable[Job], histories: Mapping[str, History]) -> bool:
    """Return whether a job's machine fails each time, where two other agents finished the task.

    It may be the agent's doing: its code may break the machine. People have to look at it.
    """
    history = histories.get(job.key)
    faults = [each for each in history.faults if each.failure == "machine"] if history else []
    if len(faults) < REPEATS:
        return False
    hosts = {fault.host for fault in faults}
    finished = {
        other.agent
        for other in jobs
        if other.task == job.task
        and other.agent != job.agent
        and (found := histories.get(other.key))
        and found.finished
        and isinstance(ending := found.finished.ending, Finished)
        and ending.host in hosts
    }
    return len(finished) >= 2
