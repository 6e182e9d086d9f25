"""MLE-bench's medals: the scores that a leaderboard of teams asks for, and its report of a run.

    teams            gold               silver     bronze
    1 … 99           top 10 %           top 20 %   top 40 %
    100 … 249        place 10           top 20 %   top 40 %
    250 … 999        place 10 + 0.2 %   place 50   place 100
    1000 and more    place 10 + 0.2 %   top 5 %    top 10 %

The places are Kaggle's. A share of the teams is rounded down, and is at least one team.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

FORMAT = "mle-bench"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The scores of the last team that each medal goes to, and the middle of the board."""

    gold: float
    silver: float
    bronze: float
    median: float


def thresholds(board: Sequence[float], *, higher_is_better: bool) -> Thresholds:
    """What each medal takes. Raises `ValueError` for a board without teams.

    >>> thresholds([0.9, 0.8, 0.7, 0.6, 0.5], higher_is_better=True)
    Thresholds(gold=0.9, silver=0.9, bronze=0.8, median=0.7)
    """
    if not board:
        raise ValueError("a board without teams has no medals")
    ranked = sorted(board, reverse=higher_is_better)
    gold, silver, bronze = places(len(ranked))
    return Thresholds(
        gold=ranked[gold - 1],
        silver=ranked[silver - 1],
        bronze=ranked[bronze - 1],
        median=median(ranked),
    )


def places(teams: int) -> tuple[int, int, int]:
    """The last place of gold, silver and bronze among so many teams."""

    def top(share: float) -> int:
        return max(1, int(teams * share))

    if teams < 100:
        return top(0.1), top(0.2), top(0.4)
    if teams < 250:
        return 10, top(0.2), top(0.4)
    gold = 10 + int(teams * 0.002)
    return (gold, 50, 100) if teams < 1000 else (gold, top(0.05), top(0.1))


def competition_report(
    competition: str,
    score: float | None,
    board: Sequence[float],
    *,
    higher_is_better: bool,
    submission_exists: bool,
    submission_path: str,
    created_at: str,
) -> dict[str, Any]:
    """One competition in MLE-bench's words; `score` is None for no or a refused submission."""
    asked = thresholds(board, higher_is_better=higher_is_better)

    def reaches(threshold: float) -> bool:
        return score is not None and (
            score >= threshold if higher_is_better else score <= threshold
        )

    gold = reaches(asked.gold)
    silver = not gold and reaches(asked.silver)
    bronze = not gold and not silver and reaches(asked.bronze)
    return {
        "competition_id": competition,
        "score": score,
        "gold_threshold": asked.gold,
        "silver_threshold": asked.silver,
        "bronze_threshold": asked.bronze,
        "median_threshold": asked.median,
        "any_medal": gold or silver or bronze,
        "gold_medal": gold,
        "silver_medal": silver,
        "bronze_medal": bronze,
        "above_median": reaches(asked.median) and score != asked.median,
        "submission_exists": submission_exists,
        "valid_submission": score is not None,
        "is_lower_better": not higher_is_better,
        "created_at": created_at,
        "submission_path": submission_path,
    }


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """MLE-bench's report of several runs: what they add up to, then each."""

    def count(field: str) -> int:
        return sum(bool(report[field]) for report in reports)

    return {
        "total_runs": len(reports),
        "total_runs_with_submissions": count("submission_exists"),
        "total_valid_submissions": count("valid_submission"),
        "total_medals": count("any_medal"),
        "total_gold_medals": count("gold_medal"),
        "total_silver_medals": count("silver_medal"),
        "total_bronze_medals": count("bronze_medal"),
        "total_above_median": count("above_median"),
        "competition_reports": list(reports),
    }
