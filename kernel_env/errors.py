"""Every error this package raises, sorted by who must act.

    KernelEnvError
    ├── ActionError          the agent: this is no action; say it again
    ├── SubmissionError      the agent: this submission cannot be graded (becomes a value in a Step)
    ├── EpisodeOver          the agent: the budget is used up
    ├── UsageError           the operator: a name, an option or a file that does not fit
    │   └── UnknownName      … no plug-in, task or image of that name
    ├── DownloadError        the operator: no token, rules not accepted, no network, broken bytes
    ├── TaskError            the task's author: the folder, the metric or the prepare function
    ├── AgentError           the agent's operator: no key, no connection, nothing but babble
    ├── SandboxError         the machine: no engine, no image, a full disk
    └── KernelError          the machine: the kernel did not start, or its container is gone

A wrong answer from an agent is a value, never an exception: a syntax error, an
exception in a cell, a time-out and a refused submission all end up inside a
`Step`. `SandboxError` and `KernelError` say that the machine failed, so no
ranking may count them against the agent. Anything outside this tree is a bug
of ours and stops the run.

A message says what was found, what was wanted, and what to do, in one line.
"""

from collections.abc import Iterable


class KernelEnvError(Exception):
    """The root: everything this package raises on purpose."""


class ActionError(KernelEnvError, ValueError):
    """The agent's words are no action: unknown kind, missing field, wrong type."""


class SubmissionError(KernelEnvError, ValueError):
    """The submission cannot be graded; the message is what the agent will read."""


class EpisodeOver(KernelEnvError):
    """An agent acted after the budget of its episode was used up."""


class UsageError(KernelEnvError, ValueError):
    """The operator asked for something that does not fit."""


class UnknownName(UsageError, LookupError):
    """No such plug-in, task, image or info type; the message lists the known ones."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {what} named {name!r}; known: {', '.join(sorted(known)) or 'none'}")


class DownloadError(KernelEnvError):
    """Data could not be had: who may have it, the network, the disk, or what arrived."""


class TaskError(KernelEnvError):
    """The task itself is broken: its folder, its metric or its prepare function."""


class AgentError(KernelEnvError):
    """The agent cannot go on for a reason outside the task: no key, only nonsense."""


class SandboxError(KernelEnvError):
    """The machine cannot give a sandbox, or took it away."""


class KernelError(KernelEnvError):
    """The kernel did not start, or cannot be reached."""
