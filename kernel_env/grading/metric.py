"""Metrics by name: direction, what each wants of a submission, scikit-learn's arithmetic.

A metric sees the target columns of the answers and of a submission, aligned by id, and
yields one number. Where scikit-learn has the formula it is called; what it lacks (mean
average precision at k) is written here with its source. Other people's metrics come as
entry points of `kernel_env.metrics`, each a `Metric`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kernel_env import plugins
from kernel_env.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

Wants = Literal[
    "number", "non_negative", "probability", "integer", "binary", "label", "list", "anything"
]
"""What stands in each cell of a target column.

`number`        any finite number
`non_negative`  a number of at least 0
`probability`   a number from 0 to 1
`integer`       a whole number
`binary`        0 or 1
`label`         one of the classes, as text
`list`          labels separated by blanks, none at all allowed
`anything`      numbers where a whole column is numbers, else text; only for a `grade.py`
"""

Score = Callable[["pd.DataFrame", "pd.DataFrame"], float]
"""(answers, submission), the target columns alone, shape (rows, columns) → the score."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a submission."""

    name: str
    title: str
    higher_is_better: bool
    wants: Wants
    score: Score
    columns: Literal["one", "any"] = "one"
    """How many target columns it takes; of several it gives the mean unless it says otherwise."""


def of_one_column(name: str, **options: Any) -> Score:
    """A function of `sklearn.metrics` on the only target column, imported when it is used."""

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        import sklearn.metrics

        function = getattr(sklearn.metrics, name)
        return float(function(answers.iloc[:, 0], submission.iloc[:, 0], **options))

    return score


def of_all_columns(name: str) -> Score:
    """The mean over the target columns of a function of `sklearn.metrics`."""
    one = of_one_column(name)

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        each = [one(answers[[column]], submission[[column]]) for column in answers]
        return sum(each) / len(each)

    return score


def log_loss(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Mean negative log-likelihood: of one column's class 1, or of one column per class.

    With several columns the answers hold a single 1 in each row, and the submission's rows
    are divided by their sums first, as Kaggle does.
    """
    import sklearn.metrics

    if answers.shape[1] == 1:
        return float(
            sklearn.metrics.log_loss(answers.iloc[:, 0], submission.iloc[:, 0], labels=[0, 1])
        )
    chances = submission.to_numpy(dtype=float)
    chances = chances / chances.sum(axis=1, keepdims=True)
    truth = answers.to_numpy(dtype=float).argmax(axis=1)
    return float(sklearn.metrics.log_loss(truth, chances, labels=range(answers.shape[1])))


def jaccard(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Mean over the rows of shared ÷ all labels of two sets; two empty sets are equal."""
    pairs = zip(answers.iloc[:, 0], submission.iloc[:, 0], strict=True)
    each = [
        len(set(true) & set(said)) / len(set(true) | set(said)) if true or said else 1.0
        for true, said in pairs
    ]
    return sum(each) / len(each)


def mean_average_precision(k: int) -> Score:
    """Mean over the rows of the average precision of the first k labels of a ranked list.

    AP@k = (sum over ranks i ≤ k of precision at i where the i-th label is right) / min(k,
    number of true labels); a label that is repeated counts once, and a row without true
    labels 0. Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008),
    section 8.4, cut at k as in Kaggle's competitions.
    """

    def of_row(true: Sequence[str], said: Sequence[str]) -> float:
        wanted, hits, total = set(true), 0, 0.0
        for rank, label in enumerate(said[:k], 1):
            if label in wanted and label not in said[: rank - 1]:
                hits += 1
                total += hits / rank
        return total / min(k, len(wanted)) if wanted else 0.0

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        pairs = zip(answers.iloc[:, 0], submission.iloc[:, 0], strict=True)
        return sum(of_row(true, said) for true, said in pairs) / len(answers)

    return score


def higher(name: str, title: str, wants: Wants, score: Score, **more: Any) -> Metric:
    """A metric of which more is better."""
    return Metric(name=name, title=title, higher_is_better=True, wants=wants, score=score, **more)


def lower(name: str, title: str, wants: Wants, score: Score, **more: Any) -> Metric:
    """A metric of which less is better: a loss."""
    return Metric(name=name, title=title, higher_is_better=False, wants=wants, score=score, **more)


def over_columns(name: str) -> dict[str, Any]:
    """For a metric of numbers that takes the mean over however many columns there are."""
    return {"score": of_all_columns(name), "columns": "any"}


STOCK = {
    metric.name: metric
    for metric in (
        # Classes
        higher("accuracy", "Accuracy", "label", of_one_column("accuracy_score")),
        higher(
            "balanced_accuracy",
            "Balanced accuracy",
            "label",
            of_one_column("balanced_accuracy_score"),
        ),
        higher("f1", "F1 of class 1", "binary", of_one_column("f1_score", zero_division=0.0)),
        higher(
            "macro_f1",
            "Macro-averaged F1",
            "label",
            of_one_column("f1_score", average="macro", zero_division=0.0),
        ),
        higher(
            "weighted_f1",
            "F1 weighted by class size",
            "label",
            of_one_column("f1_score", average="weighted", zero_division=0.0),
        ),
        higher(
            "matthews",
            "Matthews correlation coefficient",
            "label",
            of_one_column("matthews_corrcoef"),
        ),
        higher(
            "quadratic_kappa",
            "Quadratic weighted kappa",
            "integer",
            of_one_column("cohen_kappa_score", weights="quadratic"),
        ),
        # Chances and rankings
        higher("roc_auc", "Area under the ROC curve", "number", **over_columns("roc_auc_score")),
        higher(
            "average_precision",
            "Average precision",
            "number",
            **over_columns("average_precision_score"),
        ),
        lower("log_loss", "Logarithmic loss", "probability", log_loss, columns="any"),
        lower("brier", "Brier score", "probability", of_one_column("brier_score_loss")),
        # Sets and ranked lists of labels
        higher("jaccard", "Mean Jaccard index", "list", jaccard),
        # Numbers
        lower(
            "rmse",
            "Root mean squared error",
            "number",
            **over_columns("root_mean_squared_error"),
        ),
        lower(
            "rmsle",
            "Root mean squared logarithmic error",
            "non_negative",
            **over_columns("root_mean_squared_log_error"),
        ),
        lower("mae", "Mean absolute error", "number", **over_columns("mean_absolute_error")),
        lower(
            "median_ae",
            "Median absolute error",
            "number",
            **over_columns("median_absolute_error"),
        ),
        lower(
            "mape",
            "Mean absolute percentage error (1 is 100 %)",
            "number",
            **over_columns("mean_absolute_percentage_error"),
        ),
        higher("r2", "Coefficient of determination R²", "number", **over_columns("r2_score")),
    )
}

AT_K = re.compile(r"map@([1-9][0-9]{0,4})")


def find(name: str) -> Metric:
    """The metric of this name, ours or a plug-in's; `map@5` is MAP@k for k = 5.

    Raises `UnknownName`.
    """
    if name in STOCK:
        return STOCK[name]
    if at := AT_K.fullmatch(name):
        k = int(at[1])
        title = f"Mean average precision of the first {k}"
        return higher(name, title, "list", mean_average_precision(k))
    if name in plugins.names("metric"):
        metric: Metric = plugins.find("metric", name)
        return metric
    raise UnknownName("metric", name, [*STOCK, "map@K", *plugins.names("metric")])
