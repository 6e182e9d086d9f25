"""Build MLE-bench's report of a run, with the medals of `grading.medals`.

The report names the protocol of each run, and what deviates from that of MLE-bench: an agent learns
nothing about its score while it works, the file that it leaves after at most a day is graded, and
neither its steps nor its submissions are counted (https://arxiv.org/abs/2410.07095, section 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from kernel_env.episode.trajectory import Header
from kernel_env.grading.medals import places
from kernel_env.grading.protocol import BENCHMARKS

FORMAT = "mle-bench"
SECONDS = 24 * 3600
"""The time limit of MLE-bench."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The lowest-ranked score that earns each medal, and the median of the leaderboard."""

    gold: float
    silver: float
    bronze: float
    median: float


def thresholds(leaderboard: Sequence[float], *, higher_is_better: bool) -> Thresholds:
    """Return the score that each medal requires, and the median.

    Args:
        leaderboard: one score per team, in any order.
        higher_is_better: the direction of the metric.

    Raises `ValueError` for a leaderboard without teams.

    >>> thresholds([0.9, 0.8, 0.7, 0.6, 0.5], higher_is_better=True)
    Thresholds(gold=0.9, silver=0.9, bronze=0.8, median=0.7)
    """
    if not leaderboard:
        raise ValueError("the leaderboard has no teams; medals need at least one")
    ranked = sorted(leaderboard, reverse=higher_is_better)
    gold, silver, bronze = places(len(ranked))
    return Thresholds(
        gold=ranked[gold - 1],
        silver=ranked[silver - 1],
        bronze=ranked[bronze - 1],
        median=median(ranked),
    )


def competition_report(
    competition: str,
    score: float | None,
    leaderboard: Sequence[float],
    *,
    higher_is_better: bool,
    submission_exists: bool,
    submission_path: str,
    created_at: str,
) -> dict[str, Any]:
    """Build MLE-bench's report of one run.

    Args:
        competition: the competition's id.
        score: the private score; None without a valid submission.
        leaderboard: the teams' private scores, in any order.
        higher_is_better: the direction of the metric.
        submission_exists: whether the agent submitted anything, valid or not.
        submission_path: the path of the graded submission.
        created_at: the time of the report, ISO 8601.

    Raises `ValueError` for a leaderboard without teams.
    """
    required = thresholds(leaderboard, higher_is_better=higher_is_better)

    def reaches(threshold: float) -> bool:
        return score is not None and (
            score >= threshold if higher_is_better else score <= threshold
        )

    gold = reaches(required.gold)
    silver = not gold and reaches(required.silver)
    bronze = not gold and not silver and reaches(required.bronze)
    return {
        "competition_id": competition,
        "score": score,
        "gold_threshold": required.gold,
        "silver_threshold": required.silver,
        "bronze_threshold": required.bronze,
        "median_threshold": required.median,
        "any_medal": gold or silver or bronze,
        "gold_medal": gold,
        "silver_medal": silver,
        "bronze_medal": bronze,
        "above_median": reaches(required.median) and score != required.median,
        "submission_exists": submission_exists,
        "valid_submission": score is not None,
        "is_lower_better": not higher_is_better,
        "created_at": created_at,
        "submission_path": submission_path,
    }


def protocol(header: Header, *, human_steps: int = 0) -> dict[str, Any]:
    """Describe the rules of a run of one of MLE-bench's competitions.

    `human_steps` is how many steps people took in it.
    """
    budget, rules = header.budget, BENCHMARKS[FORMAT]
    deviations = []
    if header.feedback != rules.feedback:
        deviations.append(f"the agent saw scores (feedback {header.feedback})")
    if header.counts != rules.counts:
        deviations.append("the submission with the best public score was graded, not the last one")
    if budget.seconds != SECONDS:
        deviations.append(f"the time limit was {budget.seconds:,.0f} s, not {SECONDS:,} s")
    for name, limit in (
        ("steps", budget.steps),
        ("graded submissions", budget.submissions),
        ("tokens", budget.tokens),
        ("dollars", budget.money),
    ):
        if limit is not None:
            deviations.append(f"at most {limit:g} {name}")
    if not header.isolated:
        deviations.append(f"the sandbox {header.sandbox} does not isolate the agent's code")
    if human_steps:
        deviations.append("people acted in the agent's episode")
    return {"feedback": header.feedback, "counts": header.counts, "deviations": deviations}


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Build MLE-bench's report of several runs: the totals and the report of each run."""

    def count(field: str) -> int:
        return sum(bool(report[field]) for report in reports)

    protocols = [report["protocol"] for report in reports if "protocol" in report]
    return {
        "total_runs": len(reports),
        "total_runs_with_submissions": count("submission_exists"),
        "total_valid_submissions": count("valid_submission"),
        "total_medals": count("any_medal"),
        "total_gold_medals": count("gold_medal"),
        "total_silver_medals": count("silver_medal"),
        "total_bronze_medals": count("bronze_medal"),
        "total_above_median": count("above_median"),
        **({"protocol": overall_protocol(protocols)} if protocols else {}),
        "competition_reports": list(reports),
    }


def overall_protocol(protocols: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Name the protocol of several runs: all that deviates in any of them."""
    deviations = sorted({each for one in protocols for each in one["deviations"]})
    return {
        "name": f"{FORMAT}, with deviations" if deviations else FORMAT,
        "deviations": deviations,
    }
