"""Compute the medals of Kaggle for a place on a leaderboard of human teams.

    teams            gold               silver     bronze
    1 to 99          top 10 %           top 20 %   top 40 %
    100 to 249       place 10           top 20 %   top 40 %
    250 to 999       place 10 + 0.2 %   place 50   place 100
    1000 and more    place 10 + 0.2 %   top 5 %    top 10 %

A share of the teams is rounded down, and is at least one team. Source: the rules of Kaggle
(https://www.kaggle.com/progression), which MLE-bench uses (https://arxiv.org/abs/2410.07095).
"""

from typing import Literal

from kernel_env.grading.grade import Place

Medal = Literal["gold", "silver", "bronze", ""]
"""Empty: no medal."""


def places(teams: int) -> tuple[int, int, int]:
    """Return the last places that earn gold, silver and bronze among a number of teams."""

    def top(share: float) -> int:
        return max(1, int(teams * share))

    if teams < 100:
        return top(0.1), top(0.2), top(0.4)
    if teams < 250:
        return 10, top(0.2), top(0.4)
    gold = 10 + int(teams * 0.002)
    return (gold, 50, 100) if teams < 1000 else (gold, top(0.05), top(0.1))


def medal(place: Place) -> Medal:
    """Return the medal of a place on a leaderboard of human teams.

    A score earns gold if it equals or beats the last one that does, and so on.

    >>> medal(Place(position=0.8, rank=1, entries=5))
    'gold'
    """
    gold, silver, bronze = places(place.entries)
    if place.rank <= gold:
        return "gold"
    if place.rank <= silver:
        return "silver"
    return "bronze" if place.rank <= bronze else ""
