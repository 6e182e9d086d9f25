"""Drive a suite: lock, complete the records, prepare, regrade, play, and say where it stands."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from kernel_env.errors import SandboxError, TaskError, UnknownName, UsageError
from kernel_env.grading.host import Grader
from kernel_env.runner import prepare_tasks
from kernel_env.suite.adoption import adopt
from kernel_env.suite.engine import Engine, LocalEngine, half_the_cores
from kernel_env.suite.history import History, fold
from kernel_env.suite.keys import grade_key_of
from kernel_env.suite.leftovers import registered
from kernel_env.suite.lock import Lock, running
from kernel_env.suite.log import Fault, Line, Log, Regraded, Retry, read_folder
from kernel_env.suite.plan import Job, Shard, Suite
from kernel_env.suite.policy import standings_of
from kernel_env.suite.records import ListedJob, record_of, write_jobs
from kernel_env.suite.regrade import regrade
from kernel_env.suite.scheduler import Monitor, Scheduler, StopRequest, now_text
from kernel_env.suite.status import Status, status_of

COPY = "suite.toml"
"""The copy of the suite file in its folder."""
STOP = "suite.stop"
"""The file with the latest request to stop."""

OpenEngine = Callable[[Suite], AbstractAsyncContextManager[Engine]]
"""Opens what plays the episodes."""


def open_local(suite: Suite) -> AbstractAsyncContextManager[Engine]:
    """Open the engine that plays on this machine."""
    return LocalEngine(suite.file.limits)


def open_ray(suite: Suite) -> AbstractAsyncContextManager[Engine]:
    """Open the engine that plays on a Ray cluster."""
    from kernel_env.suite.ray_engine import RayEngine

    return RayEngine(suite)


ENGINES: dict[str, OpenEngine] = {"local": open_local, "ray": open_ray}
"""The engines that `--engine` names."""


def find_engine(name: str) -> OpenEngine:
    """Return what opens an engine. Raises `UnknownName`."""
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    return ENGINES[name]


def run_suite(
    suite: Suite,
    monitor: Monitor,
    *,
    shard: Shard = Shard(),  # noqa: B008 - a value
    open_engine: OpenEngine = open_local,
) -> Status:
    """Play all that is left of a suite, or of a share of it; return where it stands then.

    Args:
        suite: the suite.
        monitor: receives what happens.
        shard: the share of the jobs.
        open_engine: opens what plays the episodes.

    Raises:
        UsageError: another driver plays it, or its records cannot be read.
        SandboxError: the machine cannot play at all, or the records cannot be written.
        KeyboardInterrupt, asyncio.CancelledError: the operator stopped it; all is recorded.
    """
    with Lock(suite.folder, shard), registered(suite.folder):
        stop = StopRequests(suite.folder)
        histories = fold(read_folder(suite.folder))
        with Log(suite.folder, shard) as log:
            drive = Drive(suite=suite, shard=shard, log=log, histories=histories, monitor=monitor)
            copy_file(suite)
            drive.adopt()
            stopped = drive.prepare()
            asyncio.run(drive.play(open_engine, stopped, stop))
    return read_status(suite)


@dataclass(frozen=True, kw_only=True)
class Drive:
    """One run of a driver."""

    suite: Suite
    shard: Shard
    log: Log
    histories: dict[str, History]
    monitor: Monitor

    @property
    def jobs(self) -> list[Job]:
        """Return the jobs of this driver's share."""
        return [job for job in self.suite.jobs if self.shard.has(job)]

    def append(self, job: Job, line: Line) -> None:
        """Add a line to the records. Raises `SandboxError`."""
        self.log.append(line)
        self.histories.setdefault(job.key, History(key=job.key)).add(line)
        self.monitor.recorded(job, line)

    def adopt(self) -> None:
        """Complete the records of a driver that was killed."""
        jobs = {job.key: job for job in self.jobs}
        for line in list(adopt(self.suite, self.jobs, self.histories)):
            self.append(jobs[line.key], line)

    def prepare(self) -> dict[str, str]:
        """Prepare the tasks that are left to play.

        Returns:
            Why tasks cannot be played, by name.

        Raises `SandboxError` if the sandbox cannot be used.
        """
        grade_keys = grade_keys_of(self.suite)
        standings = standings_of(self.jobs, self.histories, grade_keys, self._retries)
        left = [job for job in self.jobs if standings[job.key].state in ("due", "waiting")]
        stopped: dict[str, str] = {}
        for task, job in {job.task: job for job in left}.items():
            try:
                prepare_tasks([job.plan.config], self.monitor.progress)
            except TaskError as error:
                stopped[task] = str(error)
                self.monitor.message(f"the task {task} stops for all agents: {error}")
        for job in left:
            if job.task in stopped:
                self._cannot_begin(job, stopped[job.task])
        return stopped

    def _cannot_begin(self, job: Job, reason: str) -> None:
        history = self.histories.get(job.key)
        if history and history.unstarted and history.unstarted.reason == reason:
            return
        fault = Fault(
            key=job.key,
            attempt=0,
            at=now_text(),
            failure="task",
            status="task_failed",
            reason=reason,
        )
        self.append(job, fault)

    @property
    def _retries(self) -> int | None:
        return self.suite.file.limits.retries

    async def play(
        self, open_engine: OpenEngine, stopped: dict[str, str], stop: "StopRequests"
    ) -> None:
        """Grade again what has other graders now, then play what is left."""
        grade_keys = grade_keys_of(self.suite)
        listed = [
            ListedJob(key=job.key, agent=job.agent, task=job.task, seed=job.seed)
            for job in self.suite.jobs
        ]
        write_jobs(self.suite.folder, self.suite.file.name, self.suite.file.anchor, listed)
        await self.regrade(grade_keys)
        money = self.suite.file.limits.money
        async with open_engine(self.suite) as engine:
            scheduler = Scheduler(
                self.suite,
                self.jobs,
                log=self.log,
                histories=self.histories,
                grade_keys=grade_keys,
                engine=engine,
                monitor=self.monitor,
                stop=stop.read,
                money=None if money is None else money / self.shard.count,
                stopped_tasks=stopped,
            )
            await scheduler.run()

    async def regrade(self, grade_keys: dict[str, str]) -> None:
        """Grade the submissions of finished episodes again whose task has another grade key."""
        async with Grader() as grader:
            for job in self.jobs:
                history, new = self.histories.get(job.key), grade_keys[job.task]
                attempt = history.finished if history else None
                if history is None or attempt is None or new in ("", history.grade_key):
                    continue
                assert attempt.record is not None
                notebook = self.suite.folder / str(attempt.record["notebook"])
                started = replace(attempt.started, grade_key=new)
                try:
                    task = job.plan.config.load_task()
                    result = await regrade(notebook, task, grader)
                except (TaskError, UsageError) as error:
                    self.monitor.message(f"{job.name}, keeps its grades: {error}")
                    continue
                line = Regraded(
                    key=job.key,
                    attempt=started.attempt,
                    at=now_text(),
                    grade_key=new,
                    record=record_of(result, self.suite.folder, started, self.suite.file.name),
                )
                self.append(job, line)


def grade_keys_of(suite: Suite) -> dict[str, str]:
    """Return the current grade key of each task; empty for one that is not prepared."""
    tasks = {job.task: job.plan.config.load_task() for job in suite.jobs}
    return {name: grade_key_of(task) for name, task in tasks.items()}


def copy_file(suite: Suite) -> None:
    """Keep the suite file beside its records. Raises `SandboxError`."""
    copy = suite.folder / COPY
    try:
        if not (copy.exists() and copy.samefile(suite.path)):
            shutil.copyfile(suite.path, copy)
    except OSError as error:
        raise SandboxError(f"{copy} cannot be written: {error.strerror}") from error


def read_status(suite: Suite) -> Status:
    """Return where a suite stands, from its records. Raises `UsageError`."""
    limits = suite.file.limits
    return status_of(
        suite,
        fold(read_folder(suite.folder)),
        grade_keys_of(suite),
        drivers=len(running(suite.folder)),
        at_once=limits.episodes or half_the_cores(),
    )


def live_status(scheduler: Scheduler) -> Status:
    """Return where a suite stands while it is played here."""
    suite = scheduler.suite
    return status_of(
        suite,
        scheduler.histories,
        scheduler.grade_keys,
        drivers=1,
        at_once=suite.file.limits.episodes or half_the_cores(),
    )


def retry(suite: Suite, keys: list[str]) -> list[Job]:
    """Let missing jobs be played again at the next start; return them.

    Args:
        suite: the suite, which no driver plays.
        keys: beginnings of the keys of jobs; empty for all that are missing.

    Raises `UsageError` for a key that no missing job has, or while a driver plays the suite.
    """
    with Lock(suite.folder, Shard()):
        histories = fold(read_folder(suite.folder))
        standings = standings_of(
            suite.jobs, histories, grade_keys_of(suite), suite.file.limits.retries
        )
        missing = [job for job in suite.jobs if standings[job.key].state == "missing"]
        for key in keys:
            if not any(job.key.startswith(key) for job in missing):
                raise UnknownName("missing job", key, [job.key[:12] for job in missing])
        chosen = [
            job for job in missing if not keys or any(job.key.startswith(key) for key in keys)
        ]
        with Log(suite.folder, Shard()) as log:
            for job in chosen:
                history = histories.get(job.key)
                last = history.last.started.attempt if history and history.last else 0
                log.append(Retry(key=job.key, attempt=last, at=now_text()))
    return chosen


# ── requests to stop ──────────────────────────────────────────────────────────────────────


def request_stop(folder: Path, request: StopRequest) -> int:
    """Ask all drivers of a suite to stop; return how many there are. Raises `SandboxError`."""
    path = folder / STOP
    drivers = len(running(folder))
    if drivers:
        try:
            path.write_text(f"{request} {now_text()}\n")
        except OSError as error:
            raise SandboxError(f"{path} cannot be written: {error.strerror}") from error
    return drivers


class StopRequests:
    """The requests to stop that come after this object was made."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STOP
        self._before = self._content()

    def _content(self) -> str:
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    def read(self) -> StopRequest:
        """Return the latest request; empty if there is none."""
        content = self._content()
        word = content.partition(" ")[0]
        requests = {each: each for each in get_args(StopRequest)}
        return requests.get(word, "") if content != self._before else ""
