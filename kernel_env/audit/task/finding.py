"""What a check says: one line, and whether it is good."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "failed", "not applicable", "not run"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    """Its name, in a few words."""
    verdict: Verdict
    """`not applicable`: the task has nothing of the kind; `not run`: this machine or an option
    forbids it, so nothing is known."""
    text: str
    """One line. Of a failure: what was found, what was wanted, what to do."""


def ok(check: str, text: str) -> Finding:
    """The check found nothing wrong."""
    return Finding(check=check, verdict="ok", text=text)


def failed(check: str, text: str) -> Finding:
    """The check found a flaw."""
    return Finding(check=check, verdict="failed", text=text)


def not_applicable(check: str, text: str) -> Finding:
    """There is nothing to check, and why."""
    return Finding(check=check, verdict="not applicable", text=text)


def not_run(check: str, text: str) -> Finding:
    """The check could not be made, and why."""
    return Finding(check=check, verdict="not run", text=text)
