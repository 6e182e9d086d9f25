"""Compute where a suite stands: what is done, missing and why, what it costs, how long it takes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, Literal

from kernel_env.field_docs import show_fields
from kernel_env.suite.history import History
from kernel_env.suite.keys import changed_fields
from kernel_env.suite.log import Finished
from kernel_env.suite.plan import Job, Suite
from kernel_env.suite.policy import State, is_repeatable, standings_of

Fate = Literal["reuse", "regrade", "rerun", "new"]
"""What the next start makes of a job: `reuse` its result, `regrade` its submissions, `rerun` it
because its settings have changed or no attempt counts, or play it as `new`."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """Where a job stands."""

    key: str
    agent: str
    task: str
    seed: int
    state: State
    fate: Fate
    attempts: int
    reason: str = ""
    """Who failed, and why."""
    changed: tuple[str, ...] = ()
    """The settings that differ from those of the result that cannot be reused."""
    repeatable: bool = False
    """Whether the machine fails each time, where others finish: the agent may be the cause."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A result with settings that the suite file does not have any more. It is kept."""

    key: str
    agent: str
    task: str
    seed: int


@show_fields
@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a suite stands."""

    suite: str
    folder: str
    drivers: int
    """Number of drivers that play it now."""
    jobs: tuple[JobStatus, ...]
    orphans: tuple[Orphan, ...]
    money: float
    """US dollars that all attempts have used."""
    money_limit: float | None
    seconds_left: float | None
    """How long the rest takes, from the medians of the same agent; None if nothing is known."""
    unknown: int
    """Jobs left without any such figure, which are not in `seconds_left`."""
    smallest_difference: float | None
    """The smallest true difference of two agents' mean positions that the whole suite finds with a
    probability of 80 %, by the spread of the results until now; None if that is not known."""
    states: dict[str, int] = field(default_factory=dict)
    """Number of jobs in each state."""
    fates: dict[str, int] = field(default_factory=dict)
    """Number of jobs with each fate, and of orphans."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Number of jobs without a result, by who failed."""

    def json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def status_of(
    suite: Suite,
    histories: Mapping[str, History],
    grade_keys: Mapping[str, str],
    *,
    drivers: int,
    at_once: int,
) -> Status:
    """Compute where a suite stands.

    Args:
        suite: the suite.
        histories: what has happened to each job, by its key.
        grade_keys: the current one of each task; empty if it is not known.
        drivers: how many drivers play it. Without one, nothing runs.
        at_once: how many episodes are played at the same time.
    """
    standings = standings_of(suite.jobs, histories, grade_keys, suite.file.limits.retries)
    keys = {job.key for job in suite.jobs}
    orphans = {key: h for key, h in histories.items() if key not in keys and h.last}
    earlier = {
        (h.last.started.agent, h.last.started.task, h.last.started.seed): h
        for h in orphans.values()
        if h.last
    }
    found = []
    for job in suite.jobs:
        history, standing = histories.get(job.key), standings[job.key]
        state = standing.state
        if state == "running" and not drivers:
            state = "due"
        before = earlier.get((job.agent, job.task, job.seed)) if history is None else None
        found.append(
            JobStatus(
                key=job.key,
                agent=job.agent,
                task=job.task,
                seed=job.seed,
                state=state,
                fate=fate_of(history, before, grade_keys.get(job.task, "")),
                attempts=len(history.attempts) if history else 0,
                reason=standing.reason,
                changed=changes(before, job),
                repeatable=is_repeatable(job, suite.jobs, histories),
            )
        )
    left, unknown = seconds_left(found, histories)
    mine = [h for key, h in histories.items() if key in keys]
    return Status(
        suite=suite.file.name,
        folder=str(suite.folder),
        drivers=drivers,
        jobs=tuple(found),
        orphans=tuple(map(orphan_of, orphans.values())),
        money=sum(history.money for history in mine),
        money_limit=suite.file.limits.money,
        seconds_left=None if left is None else left / at_once,
        unknown=unknown,
        smallest_difference=detectable(suite, mine),
        states=dict(Counter(job.state for job in found)),
        fates={**Counter(job.fate for job in found), "orphan": len(orphans)},
        reasons=dict(
            Counter(
                job.reason.partition(":")[0] for job in found if job.state != "done" and job.reason
            )
        ),
    )


def detectable(suite: Suite, histories: Iterable[History]) -> float | None:
    """Return the smallest difference of positions that a suite can find; see `ratings.planning`."""
    positions: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    boards: set[str] = set()
    for history in histories:
        if not (history.finished and (record := history.finished.record)):
            continue
        started, position = history.finished.started, record["position_private"]
        boards |= {started.task} if position is not None else set()
        positions[started.agent][started.task].append(position or 0.0)
    for by_task in positions.values():
        for task in set(by_task) - boards:
            del by_task[task]  # without a leaderboard there are no positions
    if sum(len(by_task) > 1 for by_task in positions.values()) < 2:
        return None
    from kernel_env.ratings.planning import smallest_difference, spread_of

    spread = spread_of(positions)
    tasks = len({job.task for job in suite.jobs})
    return smallest_difference(tasks, suite.file.seeds, spread) if spread else None


def fate_of(history: History | None, earlier: History | None, grade_key: str) -> Fate:
    """Return what the next start makes of a job.

    Args:
        history: what has happened to it.
        earlier: what has happened to the same agent, task and seed with other settings.
        grade_key: what grades its task now; empty if it is not known.
    """
    if history is None:
        return "rerun" if earlier else "new"
    if not history.finished:
        return "rerun" if history.attempts else "new"
    return "regrade" if grade_key and history.grade_key != grade_key else "reuse"


def changes(earlier: History | None, job: Job) -> tuple[str, ...]:
    """Return the settings of a job that differ from those with which it was played before."""
    if earlier is None or earlier.last is None:
        return ()
    return tuple(changed_fields(earlier.last.started.settings, job.settings))


def orphan_of(history: History) -> Orphan:
    """Return a result with other settings."""
    assert history.last is not None
    started = history.last.started
    return Orphan(key=history.key, agent=started.agent, task=started.task, seed=started.seed)


def seconds_left(
    jobs: Sequence[JobStatus], histories: Mapping[str, History]
) -> tuple[float | None, int]:
    """Return the seconds that the rest takes one after another, and for how many nothing is known.

    A job takes the median of the same agent on the same task, else that of the agent's tasks.
    """
    by_task: dict[tuple[str, str], list[float]] = defaultdict(list)
    for history in histories.values():
        attempt = history.finished
        if attempt and isinstance(attempt.ending, Finished):
            started, ended = attempt.started, attempt.ending.record.get("ended")
            seconds = seconds_between(started.at, ended or attempt.ending.at)
            by_task[started.agent, started.task].append(seconds)
    medians = {names: median(seconds) for names, seconds in by_task.items()}
    by_agent: dict[str, list[float]] = defaultdict(list)
    for (agent, _), seconds in medians.items():
        by_agent[agent].append(seconds)
    left: list[float] = []
    unknown = 0
    for job in jobs:
        if job.state in ("done", "missing"):
            continue
        if (job.agent, job.task) in medians:
            left.append(medians[job.agent, job.task])
        elif job.agent in by_agent:
            left.append(median(by_agent[job.agent]))
        else:
            unknown += 1
    return (sum(left) if left or not unknown else None), unknown


def seconds_between(start: str, end: str) -> float:
    """Return the seconds between two times, ISO 8601."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
