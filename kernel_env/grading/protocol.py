"""Define what an agent learns about its scores, and which of its submissions counts.

A test set whose scores are shown again and again stops being one: what an agent learns about single
answers from many scores lifts its score and no model. `Feedback` is how much is shown:

`public`    the public score of each submission
`both`      the private score as well; only for looking at how a task behaves
`ladder`    the public score, if it beats the best one shown by more than chance explains: what a
            leaderboard can say without being overfitted (Blum & Hardt, The Ladder: A Reliable
            Leaderboard for Machine Learning Competitions, ICML 2015); see `resolution`
`validity`  whether the submission is well-formed, and nothing else, as in MLE-bench
"""

from dataclasses import dataclass
from typing import Literal

Feedback = Literal["public", "both", "ladder", "validity"]
"""Which scores the agent sees while it works."""
Counts = Literal["best", "last"]
"""Which submission counts at the end: that with the best public score, or the file that is left."""
Shown = Literal["score", "no gain", "valid", "not counted"]
"""What the agent is shown of a submission that can be graded.

`score`        its score
`no gain`      that it does not beat the best score shown by more than chance explains
`valid`        that it is well-formed
`not counted`  the same, because the budget of submissions is used up; the last file can still count
"""


QUANTILE = 1.645
"""A gain of this many standard errors has a probability of 5 % by chance alone (one-sided). Blum &
Hardt take one; then two lucky guesses of single answers at a time are announced."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules on what an agent learns and what counts."""

    feedback: Feedback = "public"
    counts: Counts = "best"

    def describe(self, submissions: int | None) -> str:
        """Describe the rules to the agent.

        Args:
            submissions: the budget of submissions; None: no limit.
        """
        shown = {
            "public": "The observation shows the public score of each new submission.",
            "both": "The observation shows public and private score of each new submission.",
            "ladder": "The observation shows the public score of a new submission if it beats the"
            " best one shown by more than chance explains.",
            "validity": "The observation says whether a new submission is well-formed; scores are"
            " not shown.",
        }[self.feedback]
        counts = {
            "best": "The submission with the best public score counts.",
            "last": "The file that is there at the end counts.",
        }[self.counts]
        if self.feedback == "ladder" and self.counts == "best":
            counts = "The submission with the best score shown counts."
        limit = "" if submissions is None else f" Only {submissions} submissions are graded."
        return f"{shown} {counts}{limit}"


BENCHMARKS = {"mle-bench": Protocol(feedback="validity", counts="last")}
"""The protocol of a benchmark whose tasks were imported; others have the default one."""


def select(usual: Protocol, feedback: Feedback | None, counts: Counts | None) -> Protocol:
    """Return a task's rules, with those replaced that are not None."""
    return Protocol(feedback=feedback or usual.feedback, counts=counts or usual.counts)


def beats(gain: float, resolution: float) -> bool:
    """Return whether a gain is larger than chance explains.

    Args:
        gain: the difference of two scores, in the metric's units.
        resolution: its standard error.
    """
    return gain > QUANTILE * resolution
