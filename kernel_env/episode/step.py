"""Define the step: an action, its outcome, the reward, the time. It is the single record.

Everything else about an episode (best grade, total reward, history, notebook) is computed from
its steps; `Progress` is that computation, one step at a time.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from kernel_env.episode.actions import Action
from kernel_env.episode.budget import Spent
from kernel_env.field_docs import show_fields
from kernel_env.grading.grade import Grade, Place
from kernel_env.grading.protocol import Shown
from kernel_env.kernel.cell import Cell


@show_fields
@dataclass(frozen=True, kw_only=True)
class Graded:
    """A submission that was graded."""

    grade: Grade
    sha256: str
    """SHA-256 of the submission; an unchanged submission is not graded again."""
    content: str = ""
    """SHA-256 of its predictions; see `Scores.content`."""
    shown: Shown = "score"
    """What the agent is shown."""
    public_shown: float | None = None
    """The public score that the agent sees, rounded; see `Leaderboard.shown`. None if it sees none,
    and in episodes of version 0.1, which showed exact scores."""
    private_shown: float | None = None
    """The same for the private score."""
    note: str = ""
    """What the agent should know about its predictions; empty if nothing is odd."""
    kind: Literal["graded"] = "graded"

    @property
    def is_candidate(self) -> bool:
        """Return whether this submission can be the best one."""
        return self.shown in ("score", "valid")


@show_fields
@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A submission that cannot be graded."""

    reason: str
    kind: Literal["refused"] = "refused"


@show_fields
@dataclass(frozen=True, kw_only=True)
class InfoShown:
    """The outcome of `request_info` and `get_history`: a text."""

    text: str
    kind: Literal["told"] = "told"


@show_fields
@dataclass(frozen=True, kw_only=True)
class CellExecuted:
    """The outcome of `execute_code`: a cell, and the submission if it changed."""

    cell: Cell
    submission: Graded | Rejected | None = None
    kind: Literal["ran"] = "ran"


@show_fields
@dataclass(frozen=True, kw_only=True)
class CodeValidated:
    """The outcome of `validate_code`: a cell that ran on a fork that was discarded."""

    cell: Cell
    note: str = ""
    """How the trial kernel differed from the running kernel; empty if it did not."""
    kind: Literal["checked"] = "checked"


@show_fields
@dataclass(frozen=True, kw_only=True)
class KernelReset:
    """The outcome of `reset`: a fresh kernel and an empty workspace."""

    kind: Literal["restarted"] = "restarted"


Outcome = Annotated[
    InfoShown | CellExecuted | CodeValidated | KernelReset, Field(discriminator="kind")
]


Actor = Literal["agent", "human"]
"""Who acts: the agent, or a person in an agent's episode. A person who plays an episode of their
own is its agent."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a provider of feedback said of a step; see `feedback`."""

    source: str
    """The provider's name."""
    text: str = ""
    """What the agent reads; empty if there is nothing."""
    missing: str = ""
    """Why there is nothing although it was asked; empty if there is no such reason."""
    tokens: int = 0
    """Tokens of the provider's model, which are not the agent's."""
    money: float = 0.0
    """US dollars of the provider's model, which are not the agent's."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Step:
    """One action of an agent or a person and everything that resulted from it."""

    number: int
    """1 for the first step of an episode."""
    action: Action
    outcome: Outcome
    thought: str = ""
    """The agent's reasoning before the action."""
    reward: float = 0.0
    reward_reason: str = ""
    """Why the reward is what it is, for a reader."""
    started: str = ""
    """UTC, ISO 8601."""
    spent: Spent = Spent()
    """What the agent has used in the whole episode, this step included."""
    actor: Actor = "agent"
    """Who acted. A person's step uses nothing of the budget and has no reward, and its submission
    is graded without counting."""
    remark: Remark | None = None
    """What a provider of feedback said of it; None if there is none, or it had no remark."""

    @property
    def cell(self) -> Cell | None:
        """Return the cell that this step ran, if it ran one."""
        return self.outcome.cell if isinstance(self.outcome, CellExecuted | CodeValidated) else None

    @property
    def submission(self) -> Graded | Rejected | None:
        """Return the submission's grade or rejection, if this step changed it."""
        return self.outcome.submission if isinstance(self.outcome, CellExecuted) else None

    @property
    def state_lost(self) -> str | None:
        """Return why variables or files are not as the agent left them; None if they are."""
        return self.outcome.cell.state_lost if isinstance(self.outcome, CellExecuted) else None

    def without_outputs(self) -> "Step":
        """Return the step without what its cell printed and displayed; an error is one line."""
        if not isinstance(self.outcome, CellExecuted):
            return self
        errors = [o for o in self.outcome.cell.outputs if o["output_type"] == "error"]
        outputs = tuple({**error, "traceback": []} for error in errors)
        cell = replace(self.outcome.cell, outputs=outputs, late=())
        return replace(self, outcome=replace(self.outcome, cell=cell))


@show_fields
@dataclass(frozen=True, kw_only=True)
class Best:
    """The best graded submission so far."""

    step: int
    grade: Grade


@show_fields
@dataclass(frozen=True, kw_only=True)
class BestShown:
    """The best score that the agent was shown; the earliest of equal ones."""

    step: int
    score: float
    place: Place | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of an episode after its steps, computed by `progress.after(step)`."""

    higher_is_better: bool
    steps: int = 0
    """The agent's."""
    total_reward: float = 0.0
    best: Best | None = None
    """The submission that counts, unless the one that is left at the end does."""
    shown: BestShown | None = None
    """What the agent knows of it: by rounded scores, so that it learns nothing from their order."""
    contents: frozenset[str] = frozenset()
    """The predictions that were graded."""
    submissions: int = 0
    refusals: int = 0
    restored: int = 0
    states_lost: int = 0
    spent: Spent = Spent()
    human_steps: int = 0
    """How many of the steps a person took. What they did is in no other number."""
    by_people: tuple[Step, ...] = ()
    """What people changed since the agent's latest step: their steps, without outputs."""
    told: tuple[Step, ...] = ()
    """What people changed before the agent's latest step and after the one before it: what the
    agent's observation shows."""

    def after(self, step: Step) -> "Progress":
        """Return the state one step later. The earlier of two equal scores stays the best."""
        graded = step.submission if isinstance(step.submission, Graded) else None
        if step.actor == "human":
            return self._after_person(step, graded)
        best, shown = self.best, self.shown
        if graded and graded.is_candidate:
            if best is None or self.better(graded.grade, best.grade):
                best = Best(step=step.number, grade=graded.grade)
            shown = self._shown_after(step.number, graded)
        return replace(
            self,
            steps=self.steps + 1,
            total_reward=self.total_reward + step.reward,
            best=best,
            shown=shown,
            contents=self.contents | ({graded.content} if graded else set()),
            submissions=self.submissions + (graded is not None),
            refusals=self.refusals + isinstance(step.submission, Rejected),
            restored=self.restored + bool(step.cell and step.cell.recovery),
            states_lost=self.states_lost + (step.state_lost is not None),
            spent=step.spent,
            by_people=(),
            told=self.by_people,
        )

    def _after_person(self, step: Step, graded: Graded | None) -> "Progress":
        changed = isinstance(step.outcome, CellExecuted | KernelReset)
        return replace(
            self,
            human_steps=self.human_steps + 1,
            contents=self.contents | ({graded.content} if graded else set()),
            spent=step.spent,
            by_people=(*self.by_people, step.without_outputs()) if changed else self.by_people,
        )

    def better(self, one: Grade, other: Grade) -> bool:
        """Return whether one public score is strictly better than another."""
        return self.gain(one.public_score, other.public_score) > 0

    def gain(self, one: float, other: float) -> float:
        """Return by how much one score is better than another, in the metric's units."""
        return one - other if self.higher_is_better else other - one

    def _shown_after(self, step: int, graded: Graded) -> BestShown | None:
        """Return the best score that the agent knows after a submission."""
        if graded.shown != "score":
            return self.shown
        grade = graded.grade
        score = grade.public_score if graded.public_shown is None else graded.public_shown
        if self.shown is not None and self.gain(score, self.shown.score) <= 0:
            return self.shown
        return BestShown(step=step, score=score, place=grade.public)
