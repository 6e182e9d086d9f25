"""Each metric against scikit-learn, a textbook, or arithmetic done by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError, UnknownName
from kernel_env.grading import metric
from kernel_env.grading.submission import SubmissionSchema, targets

RANDOM = np.random.RandomState(0)
ROWS = 200
LABEL = RANDOM.choice(["a", "b", "c"], ROWS)
GUESS = np.where(RANDOM.rand(ROWS) < 0.6, LABEL, RANDOM.choice(["a", "b", "c"], ROWS))
GRADE, GUESSED_GRADE = RANDOM.randint(0, 11, ROWS), RANDOM.randint(0, 11, ROWS)
BIT, GUESSED_BIT, CHANCE = RANDOM.randint(0, 2, ROWS), RANDOM.randint(0, 2, ROWS), RANDOM.rand(ROWS)
PRICE, GUESSED_PRICE = RANDOM.rand(ROWS) * 9 + 1, RANDOM.rand(ROWS) * 9 + 1


def score(name: str, truth: object, said: object) -> float:
    """As the grader does: both sides are text first."""
    found = metric.find(name)
    sides = []
    for side in (truth, said):
        table = pd.DataFrame(side).astype(str)
        table.columns = [f"y{n}" for n in range(table.shape[1])]
        form = SubmissionSchema(
            id_columns=(), target_columns=tuple(table.columns), wants=found.wants
        )
        sides.append(targets(table, form))
    return found.score(*sides)


def by_hand_rmsle(truth: np.ndarray, said: np.ndarray) -> float:
    return math.sqrt(np.mean((np.log1p(truth) - np.log1p(said)) ** 2))


def by_hand_kappa(truth: np.ndarray, said: np.ndarray) -> float:
    observed = np.mean((truth - said) ** 2)
    return 1 - observed / np.mean((truth[:, None] - said[None, :]) ** 2)


@pytest.mark.parametrize(
    ("name", "truth", "said", "wanted"),
    [
        ("accuracy", LABEL, GUESS, np.mean(LABEL == GUESS)),
        (
            "balanced_accuracy",
            LABEL,
            GUESS,
            np.mean([np.mean(GUESS[one == LABEL] == one) for one in "abc"]),
        ),
        ("f1", BIT, GUESSED_BIT, sklearn.metrics.f1_score(BIT, GUESSED_BIT)),
        ("macro_f1", LABEL, GUESS, sklearn.metrics.f1_score(LABEL, GUESS, average="macro")),
        ("weighted_f1", LABEL, GUESS, sklearn.metrics.f1_score(LABEL, GUESS, average="weighted")),
        ("matthews", LABEL, GUESS, sklearn.metrics.matthews_corrcoef(LABEL, GUESS)),
        ("quadratic_kappa", GRADE, GUESSED_GRADE, by_hand_kappa(GRADE, GUESSED_GRADE)),
        ("roc_auc", BIT, CHANCE, sklearn.metrics.roc_auc_score(BIT, CHANCE)),
        ("average_precision", BIT, CHANCE, sklearn.metrics.average_precision_score(BIT, CHANCE)),
        ("log_loss", BIT, CHANCE, -np.mean(np.log(np.where(BIT == 1, CHANCE, 1 - CHANCE)))),
        ("brier", BIT, CHANCE, np.mean((BIT - CHANCE) ** 2)),
        ("rmse", PRICE, GUESSED_PRICE, math.sqrt(np.mean((PRICE - GUESSED_PRICE) ** 2))),
        ("rmsle", PRICE, GUESSED_PRICE, by_hand_rmsle(PRICE, GUESSED_PRICE)),
        ("mae", PRICE, GUESSED_PRICE, np.mean(abs(PRICE - GUESSED_PRICE))),
        ("median_ae", PRICE, GUESSED_PRICE, np.median(abs(PRICE - GUESSED_PRICE))),
        ("mape", PRICE, GUESSED_PRICE, np.mean(abs(PRICE - GUESSED_PRICE) / PRICE)),
        (
            "r2",
            PRICE,
            GUESSED_PRICE,
            1 - np.mean((PRICE - GUESSED_PRICE) ** 2) / np.var(PRICE),
        ),
        ("jaccard", ["a b", "a", ""], ["b c", "a", ""], (1 / 3 + 1 + 1) / 3),
        ("map@3", ["a", "b", "c"], ["a b c", "a b c", "x y z"], (1 + 1 / 2 + 0) / 3),
    ],
)
def test_a_metric_is_what_it_is_called(
    name: str, truth: object, said: object, wanted: float
) -> None:
    assert score(name, truth, said) == pytest.approx(wanted)


def test_every_stock_metric_is_tried_above() -> None:
    tried = test_a_metric_is_what_it_is_called.pytestmark[0].args[1]  # type: ignore[attr-defined]

    assert {row[0] for row in tried} == {*metric.STOCK, "map@3"}


PERFECT = {
    "label": LABEL,
    "integer": GRADE,
    "binary": BIT,
    "number": BIT,
    "non_negative": PRICE,
    "probability": BIT,
    "list": ["a b", "c", "d e"],
}


@pytest.mark.parametrize("name", [*metric.STOCK, "map@5"])
def test_the_truth_is_the_best_there_is_whichever_way_is_up(name: str) -> None:
    found = metric.find(name)
    truth = PERFECT[found.wants]
    wrong = truth[::-1] if found.wants == "list" else 1 - BIT if truth is BIT else truth[::-1]
    if found.wants in ("label", "integer", "non_negative"):
        wrong = np.roll(truth, 1)

    best, worse = score(name, truth, truth), score(name, truth, wrong)

    assert best > worse if found.higher_is_better else best < worse


def test_several_columns_give_the_mean_of_each() -> None:
    truth, said = np.c_[PRICE, GRADE], np.c_[GUESSED_PRICE, GUESSED_GRADE]

    both = score("rmse", truth, said)

    each = [score("rmse", truth[:, n], said[:, n]) for n in (0, 1)]
    assert both == pytest.approx(np.mean(each))


def test_log_loss_of_several_columns_is_that_of_classes_and_rows_need_not_sum_to_one() -> None:
    truth = np.eye(3)[RANDOM.randint(0, 3, ROWS)]
    chances = RANDOM.rand(ROWS, 3)

    found = score("log_loss", truth, chances)

    shares = chances / chances.sum(axis=1, keepdims=True)
    assert found == pytest.approx(-np.mean(np.log((shares * truth).sum(axis=1))))


@pytest.mark.parametrize(
    ("true", "said", "wanted"),
    [
        ("a", "a", 1.0),
        ("a", "x a", 1 / 2),
        ("a b", "a x b", (1 + 2 / 3) / 2),
        ("a b c d", "a b", (1 + 1) / 3),  # at most k can be found
        ("a", "a a a", 1.0),
        ("a b", "a a b", (1 + 2 / 3) / 2),
        ("a", "x y z a", 0.0),
        ("", "a", 0.0),
        ("a", "", 0.0),
    ],
)
def test_average_precision_at_three(true: str, said: str, wanted: float) -> None:
    assert score("map@3", [true], [said]) == pytest.approx(wanted)


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.lists(st.sampled_from("abcdef")))
def test_average_precision_and_jaccard_are_shares(true: list[str], said: list[str]) -> None:
    for name in ("map@3", "jaccard"):
        found = score(name, [" ".join(true)], [" ".join(said)])
        assert 0 <= found <= 1
        if true:
            assert score(name, [" ".join(true)], [" ".join(dict.fromkeys(true))]) == 1


@pytest.mark.parametrize(
    ("wants", "cells", "complaint"),
    [
        ("non_negative", ["1", "-2"], "goes down to -2; this task wants numbers of at least 0"),
        ("integer", ["1", "2.5"], "has the value 2.5; this task wants whole numbers"),
        ("binary", ["1", "2"], "has the value 2; this task wants 0 or 1"),
        ("probability", ["0.1", "1.5"], "goes from 0.1 to 1.5"),
        ("label", ["a", ""], "1 missing values"),
    ],
)
def test_a_cell_that_is_not_wanted_is_refused(
    wants: metric.Wants, cells: list[str], complaint: str
) -> None:
    form = SubmissionSchema(id_columns=(), target_columns=("y",), wants=wants)

    with pytest.raises(SubmissionError, match=complaint):
        targets(pd.DataFrame({"y": cells}), form)


def test_a_grader_of_its_own_may_take_anything() -> None:
    form = SubmissionSchema(id_columns=(), target_columns=("n", "t"), wants="anything")

    table = targets(pd.DataFrame({"n": ["1", ""], "t": ["x", "2"]}), form)

    assert table["n"].iloc[0] == 1
    assert table["n"].isna().tolist() == [False, True]
    assert table["t"].tolist() == ["x", "2"]


@pytest.mark.parametrize("name", ["map@0", "map@", "auc", "map@1000000"])
def test_an_unknown_metric_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownName, match=r"map@K.*roc_auc"):
        metric.find(name)
