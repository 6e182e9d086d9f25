"""The record of an episode: the journal it grows in, and the notebook people read.

The journal is the truth: a line of JSON per step, synced before the agent sees its
observation. The notebook is rendered from it, whole and atomically, and holds the
same: `parse_notebook(render(trajectory)) == trajectory`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from kernel_env.episode.budget import Budget, Spent
from kernel_env.episode.step import Step
from kernel_env.grading.grade import Grade

Status = Literal[
    "finished", "budget", "interrupted", "agent_failed", "task_failed", "machine_failed", "crashed"
]
"""Why an episode ended: the agent was done, a limit was reached, the operator stopped it; or who
failed: the agent, the task's metric, the machine, or we ourselves."""


@dataclass(frozen=True, kw_only=True)
class Fork:
    """From where an episode branched off another."""

    episode: str
    step: int
    """The steps up to this one are the other episode's."""
    how: Literal["copy", "replay"]
    """The kernel is a copy, or cells were run again to reach that step."""
    cells: int = 0
    """How many cells were run again."""
    lost: str = ""
    """What running them again did not give back; empty when it gave everything."""
    seed: int | None = None
    """What the random states started from at the fork; None when they are the other's."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an episode before its first step."""

    episode: str
    task: str
    task_name: str
    task_version: str
    """Names the exact content that the data was prepared from."""
    description: str
    """The task's own text, markdown."""
    metric: str
    higher_is_better: bool
    leaderboard_kind: str
    budget: Budget
    reward: str
    feedback: str
    sandbox: str
    isolated: bool
    image: str
    agent: str = ""
    model: str = ""
    seed: int = 0
    started: str = ""
    """UTC, ISO 8601."""
    version: str = ""
    """Of kernel_env."""
    fork: Fork | None = None
    """None for an episode that began at the beginning."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an episode ended."""

    status: Status
    reason: str
    spent: Spent
    """Of the whole episode, with what the agent used after its last step."""
    chosen_step: int | None = None
    """The step whose submission counts: the best public one."""
    grade: Grade | None = None
    """Of the chosen submission, now with its private half."""
    missing: str = ""
    """What the machine could not do for its kernel, and why; empty when nothing was missing."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """An episode as a value: how it began, what happened, how it ended."""

    header: Header
    steps: Sequence[Step]
    ending: Ending | None = None
    """None for an episode that is still going on, or whose host was killed."""


HEADER = TypeAdapter(Header)
ENDING = TypeAdapter(Ending)


# ── the journal ───────────────────────────────────────────────────────────────────────────


# ── the notebook ──────────────────────────────────────────────────────────────────────────
