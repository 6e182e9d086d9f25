"""Find score probing: many submissions that differ in few rows.

A model that is trained again changes most of its numeric predictions. Who changes a few rows at a
time, and keeps what scores better, learns single answers of the test set (Blum & Hardt, The Ladder:
A Reliable Leaderboard for Machine Learning Competitions, ICML 2015).
"""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 20_000_000
"""A larger submission is not compared."""
LATEST = 20
"""How many submissions before it each one is compared with."""
MANY = 5
"""How many submissions that differ in few rows from an earlier one are probing."""
SHARE_OF_NUMBERS = 0.15
"""Largest share of the rows that are few, where predictions are numbers."""
SHARE_OF_LABELS = 0.005
"""The same where predictions are labels, of which two good models have most in common."""
FEW_ROWS = 3
"""So many rows are few in any case."""
MAX_LABELS = 30
"""Predictions with more different values are numbers."""


def predictions(path: Path) -> frozenset[str] | None:
    """Return the rows of a submission, numbers in one form; None if there is none to compare."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        lines = path.read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return None
    return frozenset(",".join(map(in_one_form, line.split(","))) for line in lines[1:] if line)


def in_one_form(text: str) -> str:
    """Return a number as Python writes it, and any other text without blanks around it."""
    try:
        return repr(float(text))
    except ValueError:
        return text.strip()


@dataclass
class Probing:
    """The submissions of an episode while they are compared."""

    latest: deque[frozenset[str]] = field(default_factory=lambda: deque(maxlen=LATEST))
    near: int = 0
    """How many differed in few rows from an earlier one."""
    compared: int = 0

    def add(self, rows: frozenset[str]) -> str:
        """Compare a submission; return what was found when it makes them many, else empty."""
        labels = len({row.partition(",")[2] for row in rows}) <= MAX_LABELS
        share = SHARE_OF_LABELS if labels else SHARE_OF_NUMBERS
        few = max(FEW_ROWS, int(share * len(rows)))
        different = [len(rows - other) for other in self.latest if len(other) == len(rows)]
        self.compared += 1
        self.latest.append(rows)
        fewest = min((count for count in different if count), default=few + 1)
        if 0 in different or fewest > few:
            return ""
        self.near += 1
        if self.near != MANY:
            return ""
        return (
            f"{self.near} of {self.compared} submissions differ from an earlier one in at most"
            f" {few} of {len(rows)} rows"
        )
