"""Define the finding of a check: a verdict and one line of text."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "failed", "not applicable", "not run"]
"""The result of a check."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The finding of one check."""

    check: str
    """The check's name."""
    verdict: Verdict
    """`not applicable`: the task has nothing to check; `not run`: the check needs something that
    this machine, the task or an option does not provide."""
    text: str
    """One line. For a failure: what was found, what was expected, what to do."""


def ok(check: str, text: str) -> Finding:
    """Return a finding without a flaw."""
    return Finding(check=check, verdict="ok", text=text)


def failed(check: str, text: str) -> Finding:
    """Return a finding that reports a flaw."""
    return Finding(check=check, verdict="failed", text=text)


def not_applicable(check: str, text: str) -> Finding:
    """Return a finding that explains why the check does not apply to the task."""
    return Finding(check=check, verdict="not applicable", text=text)


def not_run(check: str, text: str) -> Finding:
    """Return a finding that explains why the check did not run."""
    return Finding(check=check, verdict="not run", text=text)
