"""A metric: the pinball loss at the 0.9 quantile."""

from typing import TYPE_CHECKING

from kernel_env.grading.metric import Metric

if TYPE_CHECKING:
    import pandas as pd

QUANTILE = 0.9


def pinball_loss(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Return the mean pinball loss; both tables have one column, and rows in the same order.

    Source: Koenker and Bassett, Regression Quantiles, Econometrica 46 (1978).
    """
    error = answers.iloc[:, 0] - submission.iloc[:, 0]
    return float((error * QUANTILE).where(error > 0, error * (QUANTILE - 1)).mean())


PINBALL = Metric(
    name="pinball",
    title="pinball loss at 0.9",
    higher_is_better=False,
    wants="number",
    score=pinball_loss,
)
