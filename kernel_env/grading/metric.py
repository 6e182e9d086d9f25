"""Define the built-in metrics and find a metric by name.

A metric takes the target columns of the answers and of a submission, aligned by id, and returns
one number. The formulas are scikit-learn's. Written here, with their source, are those that it
lacks (mean average precision at k, the Jaccard index of label sets per row; `ranking` has those
that compare rows with one another) and those that Kaggle defines differently (logarithmic loss,
quadratic kappa); also the commonest of numbers, because the import of scikit-learn takes longer
than a kernel's start. Third-party metrics are entry points
of the group `kernel_env.metrics`, each a `Metric`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kernel_env import plugins
from kernel_env.errors import SubmissionError, UnknownName
from kernel_env.grading import ranking

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CellType = Literal[
    "number", "non_negative", "probability", "integer", "binary", "label", "list", "anything"
]
"""The type of the cells of a target column.

`number`        any finite number
`non_negative`  a number of at least 0
`probability`   a number from 0 to 1
`integer`       a whole number
`binary`        0 or 1
`label`         one of the classes, as text
`list`          labels separated by blanks; can be empty
`anything`      numbers if all cells of the column are numbers, else text; only for a `grade.py`
"""

Score = Callable[["pd.DataFrame", "pd.DataFrame"], float]
"""(answers, submission) → the score. Both tables hold only the target columns; their shape is
(rows, target columns), and their rows are in the same order. The answers have one more column, the
last one, for a metric with `extra`."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A way to score a submission."""

    name: str
    """The name in task.toml."""
    title: str
    """The name in descriptions and reports."""
    higher_is_better: bool
    wants: CellType
    """The type that the cells of the target columns must have."""
    score: Score
    columns: Literal["one", "any"] = "one"
    """The number of target columns that `score` accepts. Default for several columns: the mean of
    their scores."""
    check: Callable[["pd.DataFrame"], None] | None = None
    """Called once with all predictions, in the order of the sample submission, before any are
    scored. Raises `SubmissionError` for rows that have no score."""
    extra: str = ""
    """What one more column of the answers holds, such as `event`; task.toml names the column.
    `score` gets its cells as text. Empty: nothing."""
    imports: tuple[str, ...] = ()
    """Modules that `score` imports and that take long to import. The grading process imports them
    once, before its first submission."""


SKLEARN = ("sklearn.metrics",)


def sklearn_score(name: str, **options: Any) -> Score:
    """Return a function of `sklearn.metrics` as a score of a single target column.

    scikit-learn is imported when the score is computed, because the import is slow.
    """

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        import sklearn.metrics

        function = getattr(sklearn.metrics, name)
        return float(function(answers.iloc[:, 0], submission.iloc[:, 0], **options))

    return score


def mean_over_columns(column_score: Score) -> Score:
    """Return the mean of the score of each target column."""

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        scores = [column_score(answers[[column]], submission[[column]]) for column in answers]
        return sum(scores) / len(scores)

    return score


def rmse(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the square root of the mean squared difference, in the target's units.

    Source: scikit-learn, `root_mean_squared_error`; both are the same to the last digit.
    """
    return root_mean_square(numbers_of(answers), numbers_of(submission))


def rmsle(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the root mean squared difference of log(1 + y), for y of at least 0.

    Source: scikit-learn, `root_mean_squared_log_error`; both are the same to the last digit.
    """
    import numpy as np

    return root_mean_square(np.log1p(numbers_of(answers)), np.log1p(numbers_of(submission)))


def mae(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the mean absolute difference, in the target's units.

    Source: scikit-learn, `mean_absolute_error`; both are the same to the last digit.
    """
    import numpy as np

    difference = numbers_of(submission) - numbers_of(answers)
    return float(np.mean(np.abs(difference), axis=0)[0])


def numbers_of(table: "pd.DataFrame") -> "np.ndarray":
    """Return a table of one target column as an array of shape (rows, 1)."""
    return table.to_numpy(dtype=float)


def root_mean_square(one: "np.ndarray", other: "np.ndarray") -> float:
    """Return the square root of the mean squared difference of two arrays of shape (rows, 1)."""
    import numpy as np

    return float(np.sqrt(np.mean((one - other) ** 2, axis=0))[0])


SMALLEST_PROBABILITY = 1e-15
"""Kaggle's bound for the logarithm: probabilities are clipped to it, and to 1 minus it."""


def log_loss(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the mean negative log-likelihood in nats, with Kaggle's bounds.

    A single column holds the probability of class 1. Several columns hold one class each; a row of
    the submission is divided by its sum first. Then probabilities are replaced by
    max(min(p, 1 - 1e-15), 1e-15). Source: Kaggle, for example the evaluation pages of "Otto Group
    Product Classification Challenge" (several columns) and "Quora Question Pairs" (one).

    Args:
        answers: 0 or 1, shape (rows, classes), or (rows, 1) for two classes.
        submission: probabilities of the same shape. With several columns, each row has a positive
            sum; see `check_row_sums`.
    """
    import numpy as np

    truth = answers.to_numpy(dtype=float)
    probabilities = submission.to_numpy(dtype=float)
    if truth.shape[1] > 1:
        # Dividing by the maximum first keeps the sum of tiny numbers from vanishing.
        probabilities = probabilities / probabilities.max(axis=1, keepdims=True)
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if truth.shape[1] == 1:
        truth, clipped = (np.hstack([1 - side, side]) for side in (truth, clipped))
    return float(-(truth * np.log(clipped)).sum(axis=1).mean())


def check_row_sums(submission: "pd.DataFrame") -> None:
    """Reject rows of class probabilities that are all 0. Raises `SubmissionError`."""
    import numpy as np

    if submission.shape[1] == 1:
        return
    empty = np.flatnonzero(~(submission.to_numpy(dtype=float) > 0).any(axis=1))
    if len(empty):
        raise SubmissionError(
            f"{len(empty):,} rows have the probability 0 for every class, the first is row"
            f" {empty[0] + 1} in the order of sample_submission.csv; rows are divided by their sum,"
            " so each needs a positive one"
        )


def quadratic_kappa(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute Cohen's kappa with weights that grow with the squared difference of the ratings.

    1 - sum(w * observed) / sum(w * expected) with w = (i - j)^2, over the ratings themselves, as
    Kaggle computes it: a rating that never occurs still has its distance. (scikit-learn takes the
    ranks of the ratings that occur.) -1 to 1; 1 if all ratings are the same. Sources: Cohen,
    Weighted kappa, Psychological Bulletin 70 (1968); the evaluation page of Kaggle's "The Hewlett
    Foundation: Automated Essay Scoring".
    """
    import numpy as np

    true, said = (side.iloc[:, 0].to_numpy(dtype=float) for side in (answers, submission))
    observed = np.mean((true - said) ** 2)
    # The mean of (i - j)^2 over all pairs, without building them.
    expected = np.var(true) + np.var(said) + (true.mean() - said.mean()) ** 2
    return 1.0 if observed == expected == 0 else float(1 - observed / expected)


def brier(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the mean squared difference of probability and outcome, from 0 to 1.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather
    Review 78 (1950), for two classes and one column.
    """
    difference = answers.iloc[:, 0] - submission.iloc[:, 0]
    return float((difference**2).mean())


def jaccard(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute the mean Jaccard index of the rows' label sets, from 0 to 1.

    The Jaccard index of two sets is the size of their intersection divided by the size of their
    union (Jaccard, 1901). Two empty sets have the index 1.
    """
    pairs = zip(answers.iloc[:, 0], submission.iloc[:, 0], strict=True)
    scores = [
        len(set(true) & set(predicted)) / len(set(true) | set(predicted))
        if true or predicted
        else 1.0
        for true, predicted in pairs
    ]
    return sum(scores) / len(scores)


def mean_average_precision(k: int) -> Score:
    """Return MAP@k, the mean average precision of the first k labels of a ranked list.

    AP@k = (sum of the precision at each rank i ≤ k whose label is correct) / min(k, number of
    true labels). A repeated label counts once, and a row without true labels has AP 0. MAP@k is
    the mean over the rows, from 0 to 1. Source: Manning, Raghavan & Schütze, Introduction to
    Information Retrieval (2008), section 8.4, cut at k as in Kaggle's competitions.
    """

    def average_precision(true: Sequence[str], predicted: Sequence[str]) -> float:
        relevant, hits, total = set(true), 0, 0.0
        for rank, label in enumerate(predicted[:k], 1):
            if label in relevant and label not in predicted[: rank - 1]:
                hits += 1
                total += hits / rank
        return total / min(k, len(relevant)) if relevant else 0.0

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        pairs = zip(answers.iloc[:, 0], submission.iloc[:, 0], strict=True)
        return sum(average_precision(true, predicted) for true, predicted in pairs) / len(answers)

    return score


def higher(name: str, title: str, wants: CellType, score: Score, **more: Any) -> Metric:
    """Define a metric whose higher values are better."""
    return Metric(name=name, title=title, higher_is_better=True, wants=wants, score=score, **more)


def lower(name: str, title: str, wants: CellType, score: Score, **more: Any) -> Metric:
    """Define a metric whose lower values are better, a loss."""
    return Metric(name=name, title=title, higher_is_better=False, wants=wants, score=score, **more)


def of_sklearn(name: str, **options: Any) -> dict[str, Any]:
    """Return the fields of a metric that is a function of `sklearn.metrics`."""
    return {"score": sklearn_score(name, **options), "imports": SKLEARN}


def column_mean(name: str) -> dict[str, Any]:
    """Return the fields of a metric that is the mean of such a function over its target columns."""
    return {
        "score": mean_over_columns(sklearn_score(name)),
        "columns": "any",
        "imports": SKLEARN,
    }


BUILT_IN = {
    metric.name: metric
    for metric in (
        # Classes
        higher("accuracy", "Accuracy", "label", **of_sklearn("accuracy_score")),
        higher(
            "balanced_accuracy",
            "Balanced accuracy",
            "label",
            **of_sklearn("balanced_accuracy_score"),
        ),
        higher("f1", "F1 of class 1", "binary", **of_sklearn("f1_score", zero_division=0.0)),
        higher(
            "macro_f1",
            "Macro-averaged F1",
            "label",
            **of_sklearn("f1_score", average="macro", zero_division=0.0),
        ),
        higher(
            "weighted_f1",
            "F1 weighted by class size",
            "label",
            **of_sklearn("f1_score", average="weighted", zero_division=0.0),
        ),
        higher(
            "matthews",
            "Matthews correlation coefficient",
            "label",
            **of_sklearn("matthews_corrcoef"),
        ),
        higher(
            "quadratic_kappa",
            "Quadratic weighted kappa",
            "integer",
            quadratic_kappa,
        ),
        # Probabilities and rankings
        higher("roc_auc", "Area under the ROC curve", "number", **column_mean("roc_auc_score")),
        higher(
            "average_precision",
            "Average precision",
            "number",
            **column_mean("average_precision_score"),
        ),
        lower(
            "log_loss",
            "Logarithmic loss",
            "probability",
            log_loss,
            columns="any",
            check=check_row_sums,
        ),
        lower("brier", "Brier score", "probability", brier),
        # Times of events, some of them censored
        higher(
            "concordance",
            "Concordance index of censored times",
            "number",
            ranking.concordance,
            extra="event",
        ),
        # Sets and ranked lists of labels
        higher("jaccard", "Mean Jaccard index", "list", jaccard),
        # Numbers
        lower(
            "rmse",
            "Root mean squared error",
            "number",
            mean_over_columns(rmse),
            columns="any",
        ),
        lower(
            "rmsle",
            "Root mean squared logarithmic error",
            "non_negative",
            mean_over_columns(rmsle),
            columns="any",
        ),
        lower("mae", "Mean absolute error", "number", mean_over_columns(mae), columns="any"),
        lower(
            "median_ae",
            "Median absolute error",
            "number",
            **column_mean("median_absolute_error"),
        ),
        lower(
            "mape",
            "Mean absolute percentage error (1 is 100 %)",
            "number",
            **column_mean("mean_absolute_percentage_error"),
        ),
        higher("r2", "Coefficient of determination R²", "number", **column_mean("r2_score")),
    )
}

AT_K = re.compile(r"(map|ndcg)@([1-9][0-9]{0,4})")


def find(name: str) -> Metric:
    """Find a built-in metric or a plug-in by name; `map@5` is MAP@k for k = 5, as is `ndcg@5`.

    Raises `UnknownName`.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if at_k := AT_K.fullmatch(name):
        k = int(at_k[2])
        if at_k[1] == "ndcg":
            title = f"Mean NDCG of each query's first {k}"
            return higher(name, title, "number", ranking.ndcg(k), extra="query")
        title = f"Mean average precision of the first {k}"
        return higher(name, title, "list", mean_average_precision(k))
    if name in plugins.names("metric"):
        metric: Metric = plugins.find("metric", name)
        return metric
    raise UnknownName("metric", name, [*BUILT_IN, "map@K", "ndcg@K", *plugins.names("metric")])
