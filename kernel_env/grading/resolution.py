"""Estimate how far two scores must differ before the difference means something.

The Ladder of Blum & Hardt (The Ladder: A Reliable Leaderboard for Machine Learning Competitions,
ICML 2015, algorithm 2, without parameters) announces a score only if it beats the best one by more
than the standard error of the difference between the two submissions' losses. Their losses are
means over rows. Metrics such as ROC AUC are not, so the standard error is estimated by the
delete-a-group jackknife (Kott, Journal of Official Statistics 17, 2001), which for a mean with
groups of one row is the same number.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

GROUPS = 30
"""Number of groups; the metric is computed twice for each."""


def standard_error(
    score: "Callable[[np.ndarray, pd.DataFrame], float]",
    rows: "np.ndarray",
    one: "pd.DataFrame",
    other: "pd.DataFrame",
) -> float:
    """Return the standard error of the difference of two submissions' scores.

    Args:
        score: (which rows, predictions) → score, or NaN if these rows have none.
        rows: which rows count, a mask of booleans.
        one: predictions, shape (rows, target columns).
        other: the other predictions, of the same shape.

    Returns:
        The standard error in the metric's units; infinite if it cannot be estimated.
    """
    import numpy as np

    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(rows))
    differences = []
    for group in np.array_split(shuffled, max(1, min(GROUPS, len(shuffled)))):
        kept = rows.copy()
        kept[group] = False
        differences.append(score(kept, one) - score(kept, other))
    finite = np.array([each for each in differences if math.isfinite(each)])
    if len(finite) < 2:
        return math.inf
    return float(np.sqrt((len(finite) - 1) * np.var(finite)))
