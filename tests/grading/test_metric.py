"""Compare each metric with scikit-learn, a textbook, or an independent formula."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError, UnknownName
from kernel_env.grading import metric
from kernel_env.grading.submission import targets
from support.schemas import schema

RANDOM = np.random.RandomState(0)
ROWS = 200
LABEL = RANDOM.choice(["a", "b", "c"], ROWS)
PREDICTED_LABEL = np.where(RANDOM.rand(ROWS) < 0.6, LABEL, RANDOM.choice(["a", "b", "c"], ROWS))
GRADE, PREDICTED_GRADE = RANDOM.randint(0, 11, ROWS), RANDOM.randint(0, 11, ROWS)
BIT, PREDICTED_BIT = RANDOM.randint(0, 2, ROWS), RANDOM.randint(0, 2, ROWS)
PROBABILITY = RANDOM.rand(ROWS)
PRICE, PREDICTED_PRICE = RANDOM.rand(ROWS) * 9 + 1, RANDOM.rand(ROWS) * 9 + 1


def score(name: str, truth: object, predicted: object) -> float:
    """Compute a score as the grader does, from text on both sides."""
    found = metric.find(name)
    sides = []
    for side in (truth, predicted):
        table = pd.DataFrame(side).astype(str)
        table.columns = [f"y{n}" for n in range(table.shape[1])]
        sides.append(targets(table, schema(found.wants, ids=(), targets=tuple(table.columns))))
    return found.score(*sides)


def expected_rmsle(truth: np.ndarray, predicted: np.ndarray) -> float:
    return math.sqrt(np.mean((np.log1p(truth) - np.log1p(predicted)) ** 2))


def expected_kappa(truth: np.ndarray, predicted: np.ndarray) -> float:
    observed = np.mean((truth - predicted) ** 2)
    return 1 - observed / np.mean((truth[:, None] - predicted[None, :]) ** 2)


@pytest.mark.parametrize(
    ("name", "truth", "predicted", "expected"),
    [
        ("accuracy", LABEL, PREDICTED_LABEL, np.mean(LABEL == PREDICTED_LABEL)),
        (
            "balanced_accuracy",
            LABEL,
            PREDICTED_LABEL,
            np.mean([np.mean(PREDICTED_LABEL[one == LABEL] == one) for one in "abc"]),
        ),
        ("f1", BIT, PREDICTED_BIT, sklearn.metrics.f1_score(BIT, PREDICTED_BIT)),
        (
            "macro_f1",
            LABEL,
            PREDICTED_LABEL,
            sklearn.metrics.f1_score(LABEL, PREDICTED_LABEL, average="macro"),
        ),
        (
            "weighted_f1",
            LABEL,
            PREDICTED_LABEL,
            sklearn.metrics.f1_score(LABEL, PREDICTED_LABEL, average="weighted"),
        ),
        (
            "matthews",
            LABEL,
            PREDICTED_LABEL,
            sklearn.metrics.matthews_corrcoef(LABEL, PREDICTED_LABEL),
        ),
        ("quadratic_kappa", GRADE, PREDICTED_GRADE, expected_kappa(GRADE, PREDICTED_GRADE)),
        ("roc_auc", BIT, PROBABILITY, sklearn.metrics.roc_auc_score(BIT, PROBABILITY)),
        (
            "average_precision",
            BIT,
            PROBABILITY,
            sklearn.metrics.average_precision_score(BIT, PROBABILITY),
        ),
        (
            "log_loss",
            BIT,
            PROBABILITY,
            -np.mean(np.log(np.where(BIT == 1, PROBABILITY, 1 - PROBABILITY))),
        ),
        ("brier", BIT, PROBABILITY, np.mean((BIT - PROBABILITY) ** 2)),
        ("rmse", PRICE, PREDICTED_PRICE, math.sqrt(np.mean((PRICE - PREDICTED_PRICE) ** 2))),
        ("rmsle", PRICE, PREDICTED_PRICE, expected_rmsle(PRICE, PREDICTED_PRICE)),
        ("mae", PRICE, PREDICTED_PRICE, np.mean(abs(PRICE - PREDICTED_PRICE))),
        ("median_ae", PRICE, PREDICTED_PRICE, np.median(abs(PRICE - PREDICTED_PRICE))),
        ("mape", PRICE, PREDICTED_PRICE, np.mean(abs(PRICE - PREDICTED_PRICE) / PRICE)),
        (
            "r2",
            PRICE,
            PREDICTED_PRICE,
            1 - np.mean((PRICE - PREDICTED_PRICE) ** 2) / np.var(PRICE),
        ),
        ("jaccard", ["a b", "a", ""], ["b c", "a", ""], (1 / 3 + 1 + 1) / 3),
        ("map@3", ["a", "b", "c"], ["a b c", "a b c", "x y z"], (1 + 1 / 2 + 0) / 3),
    ],
)
def test_a_metric_equals_its_formula(
    name: str, truth: object, predicted: object, expected: float
) -> None:
    assert score(name, truth, predicted) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rmse", sklearn.metrics.root_mean_squared_error),
        ("rmsle", sklearn.metrics.root_mean_squared_log_error),
        ("mae", sklearn.metrics.mean_absolute_error),
    ],
)
@given(pairs=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=40))
def test_the_metrics_of_numbers_are_scikit_learns_to_the_last_digit(
    name: str, function: Callable[..., float], pairs: list[tuple[float, float]]
) -> None:
    truth, predicted = (pd.DataFrame({"y": side}) for side in zip(*pairs, strict=True))

    found = metric.find(name).score(truth, predicted)

    assert found == function(truth.y, predicted.y)


def test_every_built_in_metric_is_compared() -> None:
    compared = test_a_metric_equals_its_formula.pytestmark[0].args[1]  # type: ignore[attr-defined]

    of_orders = {name for name, found in metric.BUILT_IN.items() if found.extra}  # test_ranking
    assert {row[0] for row in compared} == {*metric.BUILT_IN, "map@3"} - of_orders


PERFECT = {
    "label": LABEL,
    "integer": GRADE,
    "binary": BIT,
    "number": BIT,
    "non_negative": PRICE,
    "probability": BIT,
    "list": ["a b", "c", "d e"],
}


@pytest.mark.parametrize(
    "name", [*(name for name, found in metric.BUILT_IN.items() if not found.extra), "map@5"]
)
def test_the_answers_score_better_than_wrong_predictions(name: str) -> None:
    found = metric.find(name)
    truth = PERFECT[found.wants]
    wrong = truth[::-1] if found.wants == "list" else 1 - BIT if truth is BIT else truth[::-1]
    if found.wants in ("label", "integer", "non_negative"):
        wrong = np.roll(truth, 1)

    best, worse = score(name, truth, truth), score(name, truth, wrong)

    assert best > worse if found.higher_is_better else best < worse


def test_the_score_of_several_columns_is_their_mean() -> None:
    truth, predicted = np.c_[PRICE, GRADE], np.c_[PREDICTED_PRICE, PREDICTED_GRADE]

    both = score("rmse", truth, predicted)

    each = [score("rmse", truth[:, n], predicted[:, n]) for n in (0, 1)]
    assert both == pytest.approx(np.mean(each))


def test_log_loss_of_several_classes_normalises_the_rows() -> None:
    truth = np.eye(3)[RANDOM.randint(0, 3, ROWS)]
    weights = RANDOM.rand(ROWS, 3)

    found = score("log_loss", truth, weights)

    probabilities = weights / weights.sum(axis=1, keepdims=True)
    assert found == pytest.approx(-np.mean(np.log((probabilities * truth).sum(axis=1))))


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        ("a", "a", 1.0),
        ("a", "x a", 1 / 2),
        ("a b", "a x b", (1 + 2 / 3) / 2),
        ("a b c d", "a b", (1 + 1) / 3),  # at most k labels count
        ("a", "a a a", 1.0),
        ("a b", "a a b", (1 + 2 / 3) / 2),
        ("a", "x y z a", 0.0),
        ("", "a", 0.0),
        ("a", "", 0.0),
    ],
)
def test_average_precision_at_three(true: str, predicted: str, expected: float) -> None:
    assert score("map@3", [true], [predicted]) == pytest.approx(expected)


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.lists(st.sampled_from("abcdef")))
def test_average_precision_and_jaccard_are_from_0_to_1(
    true: list[str], predicted: list[str]
) -> None:
    for name in ("map@3", "jaccard"):
        found = score(name, [" ".join(true)], [" ".join(predicted)])
        assert 0 <= found <= 1
        if true:
            assert score(name, [" ".join(true)], [" ".join(dict.fromkeys(true))]) == 1


@pytest.mark.parametrize(
    ("cell_type", "cells", "message"),
    [
        (
            "non_negative",
            ["1", "-2"],
            "has the minimum -2; this task expects numbers of at least 0",
        ),
        ("integer", ["1", "2.5"], "has the value 2.5; this task expects whole numbers"),
        ("binary", ["1", "2"], "has the value 2; this task expects 0 or 1"),
        ("probability", ["0.1", "1.5"], "ranges from 0.1 to 1.5"),
        ("label", ["a", ""], "1 missing values"),
    ],
)
def test_a_cell_of_the_wrong_type_is_rejected(
    cell_type: metric.CellType, cells: list[str], message: str
) -> None:
    with pytest.raises(SubmissionError, match=message):
        targets(pd.DataFrame({"y": cells}), schema(cell_type, ids=(), targets=("y",)))


def test_columns_of_any_type_become_numbers_or_text() -> None:
    table = targets(
        pd.DataFrame({"n": ["1", ""], "t": ["x", "2"]}),
        schema("anything", ids=(), targets=("n", "t")),
    )

    assert table["n"].iloc[0] == 1
    assert table["n"].isna().tolist() == [False, True]
    assert table["t"].tolist() == ["x", "2"]


@pytest.mark.parametrize("name", ["map@0", "map@", "auc", "map@1000000", "ndcg@0"])
def test_an_unknown_metric_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownName, match=r"map@K.*ndcg@K.*roc_auc"):
        metric.find(name)
