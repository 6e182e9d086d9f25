"""Define every error that this package raises, sorted by who must act.

    KernelEnvError
    ├── ActionError          the agent: the text is not a valid action; send it again
    ├── SubmissionError      the agent: the submission cannot be graded (a value in a Step)
    ├── EpisodeOver          the agent: the budget is used up
    ├── UsageError           the operator: a name, an option or a file is wrong
    │   ├── UnknownName      the operator: no plug-in, task or image has this name
    │   ├── MissingExtra     the operator: a package of an extra is not installed
    │   ├── NoSession        a client: no episode of the server has this handle, or not any more
    │   └── ServerFull       a client: the server has no room for another episode now
    ├── DownloadError        the operator: no token, rules not accepted, no network, corrupt data
    ├── TaskError            the task's author: the folder, the metric or the prepare function
    ├── AgentError           the agent: it raised an exception, or gave only invalid responses
    │   ├── AgentSetupError  the agent's operator: no key, no access, an unknown model
    │   └── ModelError       the model's service: no connection, a rate limit, a server error
    ├── SandboxError         the machine: no engine, no image, a full disk
    └── KernelError          the machine: the kernel did not start, or its container is gone

A wrong answer from an agent is a value, never an exception: a syntax error, an exception in a
cell, a time-out and a rejected submission all end up inside a `Step`. `SandboxError` and
`KernelError` mean that the machine failed, and `ModelError` that the model's service did, so no
ranking counts them against the agent; see `episode.endings`. Any other exception is a bug: an
agent's ends its episode as `agent_failed`, and one of this package as `crashed`.

A message is one line: what was found, what was expected, and what to do.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from kernel_env.untrusted_text import escape_line

MIN_SIMILARITY = 0.7
"""The least similarity of a suggested name, from 0 to 1; at difflib's 0.6, unrelated short names
match."""


class KernelEnvError(Exception):
    """The base class of every error that this package raises on purpose."""

    def __str__(self) -> str:
        """Return the message as one line, whatever text of a container or endpoint is in it."""
        return escape_line(super().__str__())

    def __reduce__(self) -> tuple[object, ...]:
        """Return what `pickle` needs to send it to another process, whatever `__init__` takes."""
        return restored, (type(self), self.args, self.__dict__)


def restored(
    kind: type[KernelEnvError], args: tuple[object, ...], state: dict[str, object]
) -> KernelEnvError:
    """Return an error that comes from another process, without calling its `__init__`."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ActionError(KernelEnvError, ValueError):
    """An agent's text that is not a valid action: unknown kind, missing field, wrong type."""


class SubmissionError(KernelEnvError, ValueError):
    """A submission that cannot be graded; the agent reads the message."""


class EpisodeOver(KernelEnvError):
    """An action that was sent after the budget of the episode was used up."""


class UsageError(KernelEnvError, ValueError):
    """A wrong request by the operator: a name, an option or a file."""


class UnknownName(UsageError, LookupError):
    """A name that no plug-in, task, image or info type has.

    The message suggests the most similar known name, if there is one, and lists all of them.

    Args:
        what: the kind of thing that was looked up, for example `sandbox`.
        name: the name that was not found.
        known: the names that exist.
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        similar = get_close_matches(name, names, n=1, cutoff=MIN_SIMILARITY)
        suggestion = f"did you mean {similar[0]!r}? " if similar else ""
        super().__init__(
            f"no {what} named {name!r}; {suggestion}known: {', '.join(names) or 'none'}"
        )


class MissingExtra(UsageError, ImportError):
    """A part of this package whose libraries are not installed; the message says how to get them.

    Args:
        what: what needs them.
        extra: the extra of this package that has them.
        found: what is missing.
    """

    def __init__(self, what: str, extra: str, found: str) -> None:
        super().__init__(
            f"{what} needs the extra {extra} ({found}); run: pip install 'kernel-env[{extra}]'"
        )


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Raise `MissingExtra` if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(what, extra, str(error)) from error


class NoSession(UsageError, LookupError):
    """A handle that no episode of a server has; the message says why an earlier one has ended."""


class ServerFull(UsageError):
    """A request for an episode for which a server has no room: another has to end first."""


class DownloadError(KernelEnvError):
    """A failed download: no permission, no network, no disk space, or corrupt data."""


class TaskError(KernelEnvError):
    """A defect of the task: its folder, its metric or its prepare function."""


class AgentError(KernelEnvError):
    """A failure of the agent outside the task: it raised, or gave only invalid responses."""


class AgentSetupError(AgentError):
    """An agent that cannot work as it was set up: no key, no access, an unknown model."""


class ModelError(AgentError):
    """A failure of the model's service: no connection, a rate limit, a server error.

    Args:
        message: what failed.
        retry_after_s: the seconds after which the service wants to be asked again; None: unknown.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SandboxError(KernelEnvError):
    """A machine that cannot start a sandbox, or that lost it."""


class KernelError(KernelEnvError):
    """A kernel that did not start or that cannot be reached."""
