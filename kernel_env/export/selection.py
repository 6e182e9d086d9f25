"""Choose the runs that are worth learning from, and split them by task.

The split comes from a hash of the task's name: it is the same in every export, whatever else is in
it, and no task is on both sides.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from kernel_env import cheats
from kernel_env.episode import endings
from kernel_env.episode.trajectory import Header
from kernel_env.errors import UsageError
from kernel_env.export.runs import Run, is_reproduced
from kernel_env.field_docs import show_fields

Split = Literal["train", "valid"]
SPLITS: tuple[Split, ...] = ("train", "valid")


@show_fields
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which runs are exported. Left out in any case is what did not end by the agent's doing."""

    best: int | None = None
    """Only so many of each task, those with the best private places; None: all."""
    min_place: float | None = None
    """Only those that beat at least this share of the private leaderboard, 0 to 1."""
    reproduced: bool = False
    """Only those whose folder has a `verification.json` with the verdict REPRODUCED."""
    unflagged: bool = False
    """Only those in which an audit finds no flag; see `cheats`."""
    duplicates: bool = False
    """Also those whose actions are all the same as those of a better run of the task."""

    def __post_init__(self) -> None:
        """Check the values. Raises `UsageError`."""
        if self.best is not None and self.best < 1:
            raise UsageError(f"the best {self.best} of each task were requested; at least 1")
        if self.min_place is not None and not 0 <= self.min_place <= 1:
            raise UsageError(
                f"the minimum place is {self.min_place}; it must be a share from 0 to 1"
            )

    def describe(self) -> list[str]:
        """Return what is kept, one line per filter."""
        lines = [
            "episodes that ended by the agent's own doing (status finished, budget or agent_failed)"
        ]
        if self.min_place is not None:
            lines.append(f"that beat at least {self.min_place:.0%} of the private leaderboard")
        if self.reproduced:
            lines.append("that were played again with the verdict REPRODUCED")
        if self.unflagged:
            lines.append("in which an audit for cheats finds no flag")
        if not self.duplicates:
            lines.append("of those with the same actions on the same task, the best one")
        if self.best is not None:
            lines.append(f"the best {self.best} of each task by private place")
        return lines


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs that are exported, and why the others are not."""

    runs: tuple[Run, ...]
    """In the order in which they were found."""
    left_out: dict[str, int]
    """The number of runs by the reason for which they were left out."""


def select(runs: Iterable[Run], filters: Filters) -> Selection:
    """Choose runs; the first reason that applies to one is counted."""
    left_out: Counter[str] = Counter()
    kept: list[Run] = []
    for run in runs:
        if reason := objection(run, filters):
            left_out[reason] += 1
        else:
            kept.append(run)
    ranked = sorted(kept, key=quality, reverse=True)  # stable: of equals the first one found
    if not filters.duplicates:
        ranked = first_of(ranked, lambda run: (run.header.task, run.actions), 1)
        left_out["same actions as a better run"] += len(kept) - len(ranked)
    if filters.best is not None:
        found = len(ranked)
        ranked = first_of(ranked, lambda run: run.header.task, filters.best)
        left_out["not among the best of its task"] += found - len(ranked)
    chosen = {run.journal for run in ranked}
    return Selection(
        runs=tuple(run for run in kept if run.journal in chosen), left_out=dict(+left_out)
    )


def objection(run: Run, filters: Filters) -> str:
    """Return why a run is left out, whatever the other runs are; empty if it is not."""
    if run.ending is None:
        return "not ended"
    if not endings.counts(run.ending.status):
        return f"ended as {run.ending.status}, which says nothing about the agent"
    if not run.own_steps:
        return "without a step of the agent"
    if filters.min_place is not None and (run.place is None or run.place < filters.min_place):
        return "below the minimum place, or without one"
    if filters.reproduced and not is_reproduced(run):
        return "without a verification that says REPRODUCED"
    if filters.unflagged and cheats.audit(run.journal).flags:
        return "flagged by the audit for cheats"
    return ""


def quality(run: Run) -> tuple[float, float]:
    """Return what runs of a task are ranked by: the private place, then the private score."""
    place = -1.0 if run.place is None else run.place
    if run.score is None:
        return place, float("-inf")
    return place, run.score if run.header.higher_is_better else -run.score


def first_of(runs: Iterable[Run], key: Callable[[Run], object], most: int) -> list[Run]:
    """Return the first runs of each key, at most so many of each."""
    counts: defaultdict[object, int] = defaultdict(int)
    kept = []
    for run in runs:
        counts[key(run)] += 1
        if counts[key(run)] <= most:
            kept.append(run)
    return kept


def data_of(header: Header) -> str:
    """Return the task whose data an episode saw: of a small variant, the large one."""
    return header.shrunk_of or header.task


def split_of(task: str, valid: float) -> Split:
    """Return the side of a task, of which `valid` is the expected share of tasks, 0 to 1.

    >>> split_of("adult-income", 0.0), split_of("adult-income", 1.0)
    ('train', 'valid')
    """
    number = int.from_bytes(hashlib.sha256(task.encode(errors="surrogatepass")).digest()[:8])
    return "valid" if number < valid * 2**64 else "train"
