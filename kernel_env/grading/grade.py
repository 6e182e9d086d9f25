"""Define the grade of a submission: its score on each split and its place on a leaderboard."""

from dataclasses import dataclass

from kernel_env.field_docs import show_fields


@show_fields
@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a score among the entries of a leaderboard."""

    position: float
    """Share of the entries that the score strictly beats, from 0 to 1. A tie beats no entry."""
    rank: int
    """1 + the number of entries that are strictly better."""
    entries: int
    """The number of entries on the leaderboard."""
    normalised: float | None = None
    """(score - worst) / (best - worst) over the leaderboard. The best entry has 1.0 and a better
    score has more. None if all entries are equal."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Grade:
    """The grade of one submission. The private fields are None until they may be revealed."""

    public_score: float
    """In the metric's units."""
    public: Place | None = None
    """None for a task without a leaderboard."""
    private_score: float | None = None
    private: Place | None = None
