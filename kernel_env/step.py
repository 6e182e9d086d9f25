"""What happened: an action, its outcome, the reward, the time. A `Step` is the single record.

Everything else that is known of an episode (the best grade, the total reward, the
history, the notebook) is computed from its steps; `Progress` is that computation,
one step at a time.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from kernel_env.action import Action
from kernel_env.budget import Spent
from kernel_env.grading.grade import Grade

Output = dict[str, Any]
"""One output of a cell in nbformat's own shape (`output_type`, `data`, `text`, …)."""


@dataclass(frozen=True, kw_only=True)
class CellError:
    """The exception that ended a cell."""

    name: str
    value: str
    traceback: tuple[str, ...] = ()
    """Lines as IPython prints them, with ANSI colours."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A name in the kernel that a cell defined or changed."""

    name: str
    type: str
    shape: str = ""
    """Rows × columns or a length, where the type has one: `(3, 4)`, `12`."""
    megabytes: float = 0.0
    change: Literal["new", "changed", "deleted"] = "new"


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file in the workspace that a cell wrote or deleted."""

    path: str
    """Relative to the workspace."""
    bytes: int = 0
    change: Literal["new", "changed", "deleted"] = "new"


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The kernel broke and was put back as it was."""

    cause: str
    """Why the kernel could not go on."""
    how: Literal["standby", "replay", "again"]
    """`standby`: a copy that was kept goes on; `replay`: cells were run again in a fresh kernel or
    in an older copy; `again`: this cell itself was run once more, with all the memory there is."""
    before: bool = False
    """The kernel broke before this cell, which then ran; else this cell broke it and is undone."""
    cells: int = 0
    """How many earlier cells were run again."""
    seconds: float = 0.0
    note: str = ""
    """What else the agent should know of it."""
    lost: str = ""
    """What was not given back; empty when everything was, as far as variables and files tell."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A finished cell, however it finished."""

    outputs: tuple[Output, ...] = ()
    """Folded as Jupyter folds them and cut to the caps; the error is among them."""
    execution_count: int | None = None
    seconds: float = 0.0
    timed_out: bool = False
    """The cell was interrupted because its time was up."""
    broke: str | None = None
    """Why the kernel that ran it could not go on; None when it could."""
    state_lost: str | None = None
    """Why the kernel's memory is not what the agent left there; None while it is."""
    recovery: Recovery | None = None
    """How the kernel was put back after it broke; None when it did not break."""
    dropped_bytes: int = 0
    """Bytes of output beyond the caps: counted, not kept."""
    late: tuple[Output, ...] = ()
    """What threads and programs left over from earlier cells printed before and during this one."""
    variables: tuple[Variable, ...] = ()
    files: tuple[FileChange, ...] = ()

    @property
    def undone(self) -> bool:
        """Whether it broke the kernel, so that nothing it did lasts."""
        recovery = self.recovery
        return recovery is not None and recovery.how != "again" and not recovery.before

    @property
    def error(self) -> CellError | None:
        """The exception that ended the cell, as its last error output shows it."""
        for output in reversed(self.outputs):
            if output["output_type"] == "error":
                return CellError(
                    name=output["ename"],
                    value=output["evalue"],
                    traceback=tuple(output["traceback"]),
                )
        return None


@dataclass(frozen=True, kw_only=True)
class Graded:
    """The cell left a submission that was graded."""

    grade: Grade
    sha256: str
    """Of the submission's bytes; an unchanged submission is not graded again."""
    kind: Literal["graded"] = "graded"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The cell left something that cannot be graded."""

    reason: str
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, kw_only=True)
class Told:
    """`request_info` and `get_history`: a text."""

    text: str
    kind: Literal["told"] = "told"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """`execute_code`: a cell, and what became of the submission if it changed."""

    cell: Cell
    submission: Graded | Refused | None = None
    kind: Literal["ran"] = "ran"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`validate_code`: a cell that ran where nothing lasts."""

    cell: Cell
    note: str = ""
    """What the place where it ran lacked, compared with the live kernel."""
    kind: Literal["checked"] = "checked"


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """`reset`: a fresh kernel and an empty workspace."""

    kind: Literal["restarted"] = "restarted"


Outcome = Annotated[Told | Ran | Checked | Restarted, Field(discriminator="kind")]


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
        return self.outcome.cell if isinstance(self.outcome, Ran | Checked) else None

    @property
    def submission(self) -> Graded | Refused | None:
        """What became of the submission, if this step changed it."""
        return self.outcome.submission if isinstance(self.outcome, Ran) else None

    @property
    def state_lost(self) -> str | None:
        """Why the live kernel's memory is gone after this step; None when it is not."""
        return self.outcome.cell.state_lost if isinstance(self.outcome, Ran) else None


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
            refusals=self.refusals + isinstance(step.submission, Refused),
            restored=self.restored + bool(step.cell and step.cell.recovery),
            states_lost=self.states_lost + (step.state_lost is not None),
            spent=step.spent,
        )

    def better(self, one: Grade, other: Grade) -> bool:
        """Whether one public score is strictly better than another."""
        if self.higher_is_better:
            return one.public_score > other.public_score
        return one.public_score < other.public_score
