"""Play the jobs of a suite: which one next, how many at once, what after each.

One loop starts jobs in their order while the limits allow it, waits until one ends or may be played
again, and records what came of it. All that is known is in the records; what this object keeps is
what plays now, and what has stopped for the rest of this run.
"""

import asyncio
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol

from kernel_env.episode.endings import class_of, counts
from kernel_env.episode.result import EpisodeResult
from kernel_env.suite.engine import Engine
from kernel_env.suite.history import History
from kernel_env.suite.log import Fault, Finished, Line, Log, Started
from kernel_env.suite.plan import Job, Suite
from kernel_env.suite.playing import Played, recorded
from kernel_env.suite.policy import SAME_CRASHES, kind_of_crash, retry_at, standings_of
from kernel_env.suite.records import record_of

POLL_S = 0.5
"""The longest time between two looks at limits, requests to stop, and the clock."""
EPISODES = "episodes"
"""The folder with the episodes, in that of the suite."""
CENT = 0.01
"""US dollars that sums of prices may be off."""

StopRequest = Literal["", "drain", "now"]
"""`drain`: start nothing more; `now`: also end the episodes that are played."""


class Monitor(Protocol):
    """Receives what happens in a running suite."""

    def message(self, text: str) -> None:
        """Receive a message for the operator, in one line."""

    def progress(self, text: str, done: float | None) -> None:
        """Receive what is being prepared, and the share that is done (0 to 1; None: unknown)."""

    def recorded(self, job: Job, line: Line) -> None:
        """Receive a line that was added to the records."""

    def show(self, scheduler: "Scheduler") -> None:
        """Be called at least every `POLL_S` seconds."""


class Scheduler:
    """Plays the jobs of a suite, or of a share of it, until all are done or missing."""

    def __init__(
        self,
        suite: Suite,
        jobs: list[Job],
        *,
        log: Log,
        histories: dict[str, History],
        grade_keys: Mapping[str, str],
        engine: Engine,
        monitor: Monitor,
        stop: Callable[[], StopRequest] = lambda: "",
        money: float | None = None,
        stopped_tasks: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to play; starts nothing.

        Args:
            suite: the suite.
            jobs: those of its jobs that this driver plays, in order.
            log: where records are written.
            histories: what has happened to each job; kept up to date.
            grade_keys: what grades each task.
            engine: where episodes are played.
            monitor: receives what happens.
            stop: asked at least every `POLL_S` seconds whether to stop.
            money: US dollars that this driver's jobs may use, earlier ones included; None: no
                limit.
            stopped_tasks: why tasks cannot be played.
        """
        self.suite, self.jobs, self.histories = suite, jobs, histories
        self.money = money
        self.stopping: StopRequest = ""
        self.stopped_agents: dict[str, str] = {}
        self.stopped_tasks = dict(stopped_tasks or {})
        self._log, self._engine, self._monitor, self._stop = log, engine, monitor, stop
        self.grade_keys = grade_keys
        self._crashes: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._began: dict[str, float] = {}
        standings = standings_of(jobs, histories, grade_keys, suite.file.limits.retries)
        self._pending = [job for job in jobs if standings[job.key].state in ("due", "waiting")]
        self._not_before = {
            job.key: fault.retry_at or 0.0
            for job in self._pending
            if standings[job.key].state == "waiting" and (fault := standings[job.key].fault)
        }

    # ── state ─────────────────────────────────────────────────────────────────────────────

    @property
    def playing(self) -> list[Job]:
        """Return the jobs that are being played."""
        return list(self._tasks.values())

    def seconds_played(self, job: Job) -> float:
        """Return how long a job has been played."""
        return time.monotonic() - self._began.get(job.key, time.monotonic())

    @property
    def spent(self) -> float:
        """Return the US dollars that the jobs have used, in all their attempts."""
        found = (self.histories.get(job.key) for job in self.jobs)
        return sum(history.money for history in found if history)

    @property
    def reserved(self) -> float:
        """Return the US dollars that the jobs that are being played may use."""
        return sum(map(self.reserve_of, self.playing))

    def reserve_of(self, job: Job) -> float:
        """Return the US dollars that a job may use: its limit, if its agent has a model."""
        cap = self.suite.file.budget.get("money", 0.0)
        return float(cap) if job.plan.options.model else 0.0

    @property
    def money_left(self) -> float:
        """Return the US dollars that can still be reserved."""
        return math.inf if self.money is None else self.money - self.spent - self.reserved

    # ── the loop ──────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Play until nothing is left to play, or a request to stop.

        Cancelling ends the episodes, which are recorded as interrupted. Raises `SandboxError` if
        the records cannot be written; the episodes are ended then, too.
        """
        try:
            while True:
                self._monitor.show(self)
                self.stopping = self._stop() or self.stopping
                if self.stopping == "now":
                    break
                next_s = self._dispatch()
                if not self._tasks and (self.stopping or next_s is None):
                    break
                timeout = min(POLL_S, POLL_S if next_s is None else next_s)
                if self._tasks:
                    done, _ = await asyncio.wait(
                        self._tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        del self._tasks[task]
                        task.result()
                else:
                    await asyncio.sleep(timeout)
        finally:
            await self._end_all()
        self._report_unaffordable()

    async def _end_all(self) -> None:
        """End the episodes that are being played, and wait until they are recorded."""
        tasks = list(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError:  # asked again: they are ending already
                continue
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                self._monitor.message(str(error))

    def _dispatch(self) -> float | None:
        """Start the jobs that may start now.

        Returns:
            The seconds after which another may; None if none is left that time alone lets start.
        """
        if self.stopping:
            return None
        now, delays, kept = time.time(), [], []
        left, full = self.money_left + CENT, False
        for job in self._pending:
            if job.agent in self.stopped_agents or job.task in self.stopped_tasks:
                continue
            wait_s = self._not_before.get(job.key, 0.0) - now
            if wait_s > 0:
                delays.append(wait_s)
            elif not full and self.reserve_of(job) <= left:
                if self._engine.has_room(job, self.playing):
                    left -= self.reserve_of(job)
                    self._start(job)
                    continue
                full = True  # no smaller job overtakes: the order keeps the suite balanced
            kept.append(job)
        self._pending = kept
        if full:
            delays.append(POLL_S)
        return max(0.01, min(delays)) if delays else None

    def _report_unaffordable(self) -> None:
        """Say which jobs are left because the money is used up."""
        left = [job for job in self._pending if self.reserve_of(job) > self.money_left + CENT]
        if left and not self.stopping:
            self._monitor.message(
                f"{len(left)} episodes were not played: ${self.spent:.2f} of ${self.money:.2f} is"
                f" used, and an episode may need ${self.reserve_of(left[0]):.2f}; raise"
                " limits.money"
            )

    # ── one job ───────────────────────────────────────────────────────────────────────────

    def _start(self, job: Job) -> None:
        self._began[job.key] = time.monotonic()
        history = self.histories.get(job.key)
        number = history.last.started.attempt + 1 if history and history.last else 1
        name = f"{job.agent}-seed{job.seed}-{job.key[:8]}-{number}"
        started = Started(
            key=job.key,
            attempt=number,
            at=now_text(),
            agent=job.agent,
            task=job.task,
            seed=job.seed,
            grade_key=self.grade_keys.get(job.task, ""),
            folder=f"{EPISODES}/{name}",
            host=socket.gethostname(),
            pid=os.getpid(),
            settings=dict(job.settings),
        )
        self._append(job, started)
        task = asyncio.create_task(self._play(job, started), name=job.name)
        self._tasks[task] = job

    async def _play(self, job: Job, started: Started) -> None:
        folder = self.suite.folder / started.folder
        try:
            played = await self._engine.play(job, folder)
        except asyncio.CancelledError:
            self._record(job, started, stopped(recorded(folder)))
            raise
        self._record(job, started, played)

    def _record(self, job: Job, started: Started, played: Played) -> None:
        line = line_of(self.suite, started, played)
        self._append(job, line)
        if isinstance(line, Fault):
            self._follow(job, line)

    def _append(self, job: Job, line: Line) -> None:
        self._log.append(line)
        self.histories.setdefault(job.key, History(key=job.key)).add(line)
        self._monitor.recorded(job, line)

    def _follow(self, job: Job, fault: Fault) -> None:
        """Do what a fault demands."""
        match fault.failure:
            case "model" | "machine":
                grade_keys, retries = self.grade_keys, self.suite.file.limits.retries
                standing = standings_of([job], self.histories, grade_keys, retries)[job.key]
                if standing.state == "waiting":
                    self._not_before[job.key] = fault.retry_at or 0.0
                    self._pending.append(job)
            case "setup":
                if job.agent not in self.stopped_agents:
                    self.stopped_agents[job.agent] = fault.reason
                    self._monitor.message(f"the agent {job.agent} stops: {fault.reason}")
            case "task":
                if job.task not in self.stopped_tasks:
                    self.stopped_tasks[job.task] = fault.reason
                    self._monitor.message(
                        f"the task {job.task} stops for all agents: {fault.reason}"
                    )
            case "us":
                kind = kind_of_crash(fault)
                self._crashes[kind] += 1
                if self._crashes[kind] == SAME_CRASHES:
                    self.stopping = "drain"
                    self._monitor.message(
                        f"the suite stops: kernel_env has failed {SAME_CRASHES} times in the same"
                        f" way: {fault.reason}"
                    )


def line_of(suite: Suite, started: Started, played: Played) -> Finished | Fault:
    """Return the line that records how an attempt ended."""
    result, status = played.result, played.status
    if counts(status) and result is None:
        status = "setup_failed"  # nothing began: the agent could not be created
    record = record_of(result, suite.folder, started, suite.file.name) if result else None
    if counts(status) and record is not None:
        return Finished(
            key=started.key,
            attempt=started.attempt,
            at=now_text(),
            record=record,
            host=played.host,
        )
    failure = class_of(status)
    asked_s = result.retry_after_s if result else None
    return Fault(
        key=started.key,
        attempt=started.attempt,
        at=now_text(),
        failure=failure,
        status=status,
        reason=played.reason or status,
        retry_at=retry_at(started.key, started.attempt, failure, asked_s),
        record=record,
        host=played.host,
    )


def stopped(result: EpisodeResult | None) -> Played:
    """Return how an attempt ended that was stopped; its episode may have ended just before."""
    status = result.status if result else "interrupted"
    reason = result.error if result else ""
    return Played(
        status=status,
        reason=reason or "the operator stopped the suite",
        result=result,
        host=socket.gethostname(),
    )


def now_text() -> str:
    """Return the time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
