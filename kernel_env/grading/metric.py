"""Metrics by name: direction, what each wants of a submission, scikit-learn's arithmetic.

A metric sees two columns aligned by id and yields one number. Other people's
metrics come as entry points of `kernel_env.metrics`, each a `Metric`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kernel_env import plugins
from kernel_env.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

Wants = Literal["number", "probability", "label"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a submission."""

    name: str
    title: str
    higher_is_better: bool
    wants: Wants
    """`number`: any finite number; `probability`: 0 … 1; `label`: one of the classes, as text."""
    score: Callable[["pd.DataFrame", "pd.DataFrame"], float]
    """(answers, submission), the target columns alone, rows aligned by id → the score."""


def of_one_column(name: str, **options: Any) -> Callable[["pd.DataFrame", "pd.DataFrame"], float]:
    """A function of `sklearn.metrics` on the first target column, imported when it is used."""

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        import sklearn.metrics

        function = getattr(sklearn.metrics, name)
        return float(function(answers.iloc[:, 0], submission.iloc[:, 0], **options))

    return score


STOCK = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            title="Accuracy",
            higher_is_better=True,
            wants="label",
            score=of_one_column("accuracy_score"),
        ),
        Metric(
            name="macro_f1",
            title="Macro-averaged F1",
            higher_is_better=True,
            wants="label",
            score=of_one_column("f1_score", average="macro"),
        ),
        Metric(
            name="roc_auc",
            title="Area under the ROC curve",
            higher_is_better=True,
            wants="number",
            score=of_one_column("roc_auc_score"),
        ),
        Metric(
            name="log_loss",
            title="Logarithmic loss",
            higher_is_better=False,
            wants="probability",
            score=of_one_column("log_loss", labels=[0, 1]),
        ),
        Metric(
            name="rmse",
            title="Root mean squared error",
            higher_is_better=False,
            wants="number",
            score=of_one_column("root_mean_squared_error"),
        ),
        Metric(
            name="mae",
            title="Mean absolute error",
            higher_is_better=False,
            wants="number",
            score=of_one_column("mean_absolute_error"),
        ),
    )
}


def find(name: str) -> Metric:
    """The metric of this name, ours or a plug-in's. Raises `UnknownName`."""
    if name in STOCK:
        return STOCK[name]
    if name in plugins.names("metric"):
        metric: Metric = plugins.find("metric", name)
        return metric
    raise UnknownName("metric", name, [*STOCK, *plugins.names("metric")])
