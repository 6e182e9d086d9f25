"""What a submission is worth: a score on each split of the answers, and its place on a board."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a score stands among the entries of a leaderboard."""

    position: float
    """Share of the entries that the score strictly beats, 0 … 1. A tie beats nobody."""
    rank: int
    """1 + the number of entries that are strictly better."""
    entries: int
    normalised: float | None = None
    """(score - worst) / (best - worst) of the board, 1.0 equals the best entry; may exceed it."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """The grade of one submission. The private half is None until it may be known."""

    public_score: float
    public: Place | None = None
    """None for a task without a leaderboard."""
    private_score: float | None = None
    private: Place | None = None
