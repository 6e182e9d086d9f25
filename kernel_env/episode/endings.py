"""Say what each ending of an episode means: who failed, and whether the episode counts.

An episode counts if it ended by the agent's own doing: it has a score, or the lowest place if
nothing was graded. What the model's service, the machine, the task, the operator or this package
ended says nothing about the agent: the episode is missing from every rating.

    status           who failed               counts
    finished         nobody                   yes
    budget           nobody                   yes
    agent_failed     the agent                yes
    model_failed     the model's service      no
    setup_failed     the agent's operator     no
    machine_failed   the machine              no
    task_failed      the task                 no
    crashed          this package             no
    interrupted      the operator stopped it  no

A cell that crashes its kernel, or needs more memory than the sandbox has, ends no episode: the
kernel is restored, and the step is the agent's like any other.
"""

from typing import Literal

from kernel_env.episode.trajectory import Status
from kernel_env.errors import (
    AgentError,
    AgentSetupError,
    EpisodeOver,
    KernelError,
    ModelError,
    SandboxError,
    TaskError,
)

FailureClass = Literal["agent", "model", "setup", "machine", "task", "us", "operator"]
"""Who made an episode end as it did."""

CLASSES: dict[str, FailureClass] = {
    "finished": "agent",
    "budget": "agent",
    "agent_failed": "agent",
    "model_failed": "model",
    "setup_failed": "setup",
    "machine_failed": "machine",
    "task_failed": "task",
    "crashed": "us",
    "interrupted": "operator",
}
"""The class of each status."""


def class_of(status: str) -> FailureClass:
    """Return who made an episode end with a status. Raises `KeyError` for one that is unknown."""
    return CLASSES[status]


def counts(status: str) -> bool:
    """Return whether an episode with this status counts in a rating; otherwise it is missing."""
    return CLASSES.get(status) == "agent"


def status_of(error: BaseException) -> Status:
    """Return the status of an episode that an exception ended."""
    match error:
        case SandboxError() | KernelError():
            return "machine_failed"
        case TaskError():
            return "task_failed"
        case ModelError():
            return "model_failed"
        case AgentSetupError():
            return "setup_failed"
        case AgentError():
            return "agent_failed"
        case EpisodeOver():
            return "budget"
    return "crashed"
