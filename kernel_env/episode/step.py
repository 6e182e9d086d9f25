"""What happened: an action, its outcome, the reward, the time. A `Step` is the single record.

Everything else that is known of an episode (the best grade, the total reward, the
history, the notebook) is computed from its steps; `Progress` is that computation,
one step at a time.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from kernel_env.episode.actions import Action
from kernel_env.episode.budget import Spent
from kernel_env.grading.grade import Grade
from kernel_env.kernel.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Graded:
    """The cell left a submission that was graded."""

    grade: Grade
    sha256: str
    """Of the submission's bytes; an unchanged submission is not graded again."""
    kind: Literal["graded"] = "graded"


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The cell left something that cannot be graded."""

    reason: str
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, kw_only=True)
class InfoShown:
    """`request_info` and `get_history`: a text."""

    text: str
    kind: Literal["told"] = "told"


@dataclass(frozen=True, kw_only=True)
class CellExecuted:
    """`execute_code`: a cell, and what became of the submission if it changed."""

    cell: Cell
    submission: Graded | Rejected | None = None
    kind: Literal["ran"] = "ran"


@dataclass(frozen=True, kw_only=True)
class CodeValidated:
    """`validate_code`: a cell that ran where nothing lasts."""

    cell: Cell
    note: str = ""
    """What the place where it ran lacked, compared with the live kernel."""
    kind: Literal["checked"] = "checked"


@dataclass(frozen=True, kw_only=True)
class KernelReset:
    """`reset`: a fresh kernel and an empty workspace."""

    kind: Literal["restarted"] = "restarted"


Outcome = Annotated[
    InfoShown | CellExecuted | CodeValidated | KernelReset, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action of an agent and all that came of it."""

    number: int
    """1 for the first step of an episode."""
    action: Action
    outcome: Outcome
    thought: str = ""
    """What the agent said before it acted."""
    reward: float = 0.0
    reward_reason: str = ""
    """Why the reward is what it is, for a reader."""
    started: str = ""
    """UTC, ISO 8601."""
    spent: Spent = Spent()
    """Of the whole episode, this step included."""

    @property
    def cell(self) -> Cell | None:
        """The cell that this step ran, if it ran one."""
        return self.outcome.cell if isinstance(self.outcome, CellExecuted | CodeValidated) else None

    @property
    def submission(self) -> Graded | Rejected | None:
        """What became of the submission, if this step changed it."""
        return self.outcome.submission if isinstance(self.outcome, CellExecuted) else None

    @property
    def state_lost(self) -> str | None:
        """Why the live kernel's memory is gone after this step; None when it is not."""
        return self.outcome.cell.state_lost if isinstance(self.outcome, CellExecuted) else None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best graded submission so far."""

    step: int
    grade: Grade


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How an episode stands after its steps: a fold over them, `progress.after(step)`."""

    higher_is_better: bool
    steps: int = 0
    total_reward: float = 0.0
    best: Best | None = None
    submissions: int = 0
    refusals: int = 0
    restored: int = 0
    states_lost: int = 0
    spent: Spent = Spent()

    def after(self, step: Step) -> "Progress":
        """How it stands one step later. The earlier of two equal scores stays the best."""
        graded = step.submission if isinstance(step.submission, Graded) else None
        best = self.best
        if graded and (best is None or self.better(graded.grade, best.grade)):
            best = Best(step=step.number, grade=graded.grade)
        return replace(
            self,
            steps=self.steps + 1,
            total_reward=self.total_reward + step.reward,
            best=best,
            submissions=self.submissions + (graded is not None),
            refusals=self.refusals + isinstance(step.submission, Rejected),
            restored=self.restored + bool(step.cell and step.cell.recovery),
            states_lost=self.states_lost + (step.state_lost is not None),
            spent=step.spent,
        )

    def better(self, one: Grade, other: Grade) -> bool:
        """Whether one public score is strictly better than another."""
        if self.higher_is_better:
            return one.public_score > other.public_score
        return one.public_score < other.public_score
