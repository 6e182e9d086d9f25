"""Define what a verification finds, as values: tampering, comparisons of steps, one verdict."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kernel_env.audit.trajectory.outputs import Difference, Sameness
from kernel_env.field_docs import show_fields

Verdict = Literal["REPRODUCED", "DRIFTED", "FAILED", "TAMPERED"]
EXIT_CODES: dict[Verdict, int] = {"REPRODUCED": 0, "DRIFTED": 1, "FAILED": 3, "TAMPERED": 4}
"""What `kernel-env replay --verify` exits with; 2 is an error of usage."""
NOT_SIGNED = 5
"""What it exits with if the notebook is not signed by the key that was given."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Tampering:
    """Something that was changed after it was recorded."""

    where: str
    """The entry (`header`, `step 3`, `note 1`, `ending`) or the file."""
    what: str


@show_fields
@dataclass(frozen=True, kw_only=True)
class Setting:
    """A fact about what the code ran on that differs between recording and replay."""

    name: str
    recorded: str
    replayed: str


@show_fields
@dataclass(frozen=True, kw_only=True)
class ScoreComparison:
    """The comparison of two scores."""

    recorded: float | None
    replayed: float | None
    reproduced: bool
    """Whether they differ by no more than the tolerance."""
    tolerance: float
    """Relative to the larger of the two."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class SubmissionComparison:
    """The comparison of what a step submitted."""

    same_bytes: bool | None
    """None if both were rejected for the same reason: their bytes are not stored."""
    public: ScoreComparison | None = None
    """None if not both submissions were graded."""
    private: ScoreComparison | None = None
    """None if not both scores are known: a step has it only if the agent saw it."""
    difference: Difference | None = None
    """What differs beside scores: one of the two has no submission, or was rejected."""

    @property
    def reproduced(self) -> bool:
        """Return whether the same was submitted, by its scores."""
        scores = [score for score in (self.public, self.private) if score]
        return self.difference is None and all(score.reproduced for score in scores)


@show_fields
@dataclass(frozen=True, kw_only=True)
class StepComparison:
    """The comparison of one step."""

    step: int
    action: str
    outputs: Sameness
    masks: Mapping[str, int] = field(default_factory=dict)
    """How many pieces of output were masked because they differ, by mask."""
    differences: tuple[Difference, ...] = ()
    """What differs, side by side."""
    submission: SubmissionComparison | None = None
    """None if neither run submitted anything in this step."""
    note: str = ""
    """Why outputs were not compared."""

    @property
    def reproduced(self) -> bool:
        """Return whether outputs are equal, after masking, and the submission is the same."""
        return not self.differences and (self.submission is None or self.submission.reproduced)


@show_fields
@dataclass(frozen=True, kw_only=True)
class Planned:
    """What `--final-only` does with a step, and why."""

    step: int
    played: bool
    reason: str


Claim = Literal["made", "reproduced"]
"""What a signer says: `made` that the notebook is theirs; `reproduced` that they ran its code again
and the verdict was REPRODUCED."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature as the notebook's metadata stores it."""

    key: str
    """The public key, as OpenSSH writes it: `ssh-ed25519 AAAA…`."""
    claim: Claim
    signed: str
    """When, by the signer's clock: UTC, ISO 8601."""
    signature: str
    """Base64."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the verification of a recorded episode found."""

    verdict: Verdict
    reason: str
    """Why, in one line."""
    episode: str
    task: str
    steps: int
    """How many steps were recorded."""
    has_digests: bool
    """Whether tampering could be found: version 0.1 stored no digests."""
    tampering: tuple[Tampering, ...] = ()
    settings: tuple[Setting, ...] = ()
    """What the code ran on, as far as it differs."""
    compared: tuple[StepComparison, ...] = ()
    plan: tuple[Planned, ...] = ()
    """With `--final-only`: what was played and what was not."""
    final: SubmissionComparison | None = None
    """The submission that counts; None if there is none in both runs."""
    score_follows: bool | None = None
    """Whether the score of every submission that was compared was reproduced; None if the code did
    not run to its end."""

    signatures: tuple[Signature, ...] = ()
    """The signatures that were checked or made."""

    @property
    def first_difference(self) -> StepComparison | None:
        """Return the first step that was not reproduced."""
        return next((step for step in self.compared if not step.reproduced), None)

    @property
    def masks(self) -> dict[str, int]:
        """Return how many pieces of output were masked because they differ, by mask."""
        return dict(sum((Counter(step.masks) for step in self.compared), Counter()))

    def json(self) -> dict[str, Any]:
        """Return the JSON form; a number that JSON does not know is a text."""
        first = self.first_difference
        found: dict[str, Any] = finite(
            {
                **asdict(self),
                "first_difference": first and first.step,
                "masks": self.masks,
                "exit_code": EXIT_CODES[self.verdict],
            }
        )
        return found


def finite(value: Any) -> Any:
    """Return a JSON value in which infinite numbers and NaN are texts."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
