"""Define an episode as a value: header, steps and ending.

The journal (`journal`) stores it as one line of JSON per step. The notebook (`notebook`) is
rendered from it without loss: `parse_notebook(render(trajectory)) == trajectory`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from kernel_env.episode.budget import Budget, Spent
from kernel_env.episode.step import Step
from kernel_env.field_docs import show_fields
from kernel_env.grading.grade import Grade

Status = Literal[
    "finished",
    "budget",
    "interrupted",
    "agent_failed",
    "model_failed",
    "setup_failed",
    "task_failed",
    "machine_failed",
    "crashed",
]
"""Why an episode ended: the agent was done, a limit was reached, the operator stopped it; or who
failed: the agent, the model's service, the agent's operator, the task's metric, the machine, or
kernel_env itself. See `endings`."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class EarlierHeader:
    """The header of an episode that this one descends from, as far as `chain` needs it."""

    after_step: int
    """The step after which that episode began."""
    digest: str
    seed: int | None = None
    """What its random states started from there; None if they were not changed."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Fork:
    """Where an episode was forked from another."""

    episode: str
    step: int
    """The last step that both episodes share."""
    how: Literal["copy", "replay"]
    """`copy`: the kernel was forked; `replay`: cells were replayed to reach that step."""
    cells: int = 0
    """Number of cells that were replayed."""
    lost: str = ""
    """What the replay did not reproduce; empty if it reproduced everything."""
    seed: int | None = None
    """What the random states start from at the fork; None if they were not changed."""
    headers: tuple[EarlierHeader, ...] = ()
    """The headers of the episodes before it, the first one first."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known about an episode before its first step."""

    episode: str
    task: str
    task_name: str
    task_version: str
    """Identifies the exact content that the data was prepared from."""
    description: str
    """The task's description, Markdown."""
    metric: str
    higher_is_better: bool
    leaderboard_kind: str
    budget: Budget
    reward: str
    feedback: str
    """What the agent learns about its scores; see `grading.protocol`."""
    sandbox: str
    isolated: bool
    image: str
    agent: str = ""
    model: str = ""
    seed: int = 0
    started: str = ""
    """UTC, ISO 8601."""
    version: str = ""
    """Version of kernel_env."""
    fork: Fork | None = None
    """None for an episode that was not forked."""
    gpus: int = 0
    """Number of GPUs that the sandbox could use."""
    counts: str = "best"
    """Which submission counts: the `best` one, or the `last`."""
    random_seed: int | None = None
    """What the global random states of the kernel started from; None if it is not known, as for a
    sandbox of a pool."""
    image_digest: str = ""
    """Names the exact content that the image was built from; empty if the sandbox has none."""
    cpus: float = 0.0
    """Processor cores of the sandbox; 0 if nothing limits it."""
    memory_gb: float = 0.0
    """Memory of the sandbox, GiB; 0 if nothing limits it."""
    host: str = ""
    """The machine: cores, memory, system."""
    domain: str = ""
    """The kind of the task's data; empty if it is not known."""
    source: str = ""
    """The benchmark that the task was imported from; empty for a task of its own."""
    feedback_provider: str = ""
    """Who could comment on the agent's steps; empty for nobody."""
    shrunk_of: str = ""
    """The task that the task is a small variant of; empty if it is none."""

    @property
    def group(self) -> str:
        """Name the state that the episode began in; episodes that begin in the same one share it.

        `EPISODE:STEP` for a fork, otherwise the task's name.
        """
        return f"{self.fork.episode}:{self.fork.step}" if self.fork else self.task


@show_fields
@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an episode ended."""

    status: Status
    reason: str
    spent: Spent
    """What the whole episode used, after the last step included."""
    chosen_step: int | None = None
    """The step whose submission counts: the one with the best public score, or the one that made
    the file that is left. None if there is none."""
    grade: Grade | None = None
    """Grade of the chosen submission, with the private score."""
    missing: str = ""
    """What this machine did not support for kernels; empty if nothing was missing."""
    reward: float = 0.0
    """What the reward `final` pays, if no step was the last one of the budget."""
    ended: str = ""
    """UTC, ISO 8601."""
    retry_after_s: float | None = None
    """The seconds after which the model's service that failed wants to be asked again; None: it
    did not say."""


NoteKind = Literal["instructions", "first_message", "refused", "last_words"]


@show_fields
@dataclass(frozen=True, kw_only=True)
class Note:
    """What an agent read or said beside its actions; it takes no step."""

    kind: NoteKind
    """`instructions`: the system prompt; `first_message`: what a model reads next; `refused`: an
    answer that was no valid action; `last_words`: the answer that ended the episode."""
    text: str
    reason: str = ""
    """Why an answer was refused."""
    after_step: int = 0
    """The step before it; 0 before the first."""
    spent: Spent = Spent()
    """What the agent has used until then. A request to a model ends in a step or in a note, so that
    what it cost is the difference to the entry before."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """An episode: its header, its steps, its ending."""

    header: Header
    steps: Sequence[Step]
    ending: Ending | None = None
    """None for an episode that is running, or whose host process was killed."""
    notes: Sequence[Note] = ()
    """In the order in which they were made."""
    digests: Sequence[str] = ()
    """The digests that were stored with header, notes, steps and ending; see `chain`. Empty in
    trajectories of version 0.1."""


HEADER = TypeAdapter(Header)
ENDING = TypeAdapter(Ending)
NOTE = TypeAdapter(Note)
