"""Find the agents that no other one beats at the same or a lower cost."""

from collections.abc import Sequence


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the Pareto front: no other is as good for less.

    Args:
        points: (cost, value) of each agent: a lower cost and a higher value are better.

    >>> pareto([(1, 0.5), (2, 0.7), (3, 0.6), (3, 0.9)])
    [0, 1, 3]
    """

    def beaten(cost: float, value: float) -> bool:
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)

    return [index for index, point in enumerate(points) if not beaten(*point)]
