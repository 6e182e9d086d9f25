"""What reference agents compute: the best constant, random targets, groups, windows, pictures."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_env.agents.reference.guest.constant import best_constant
from kernel_env.agents.reference.guest.problem import define_problem, find_groups, hold_out
from kernel_env.agents.reference.guest.random_rows import draw_targets
from kernel_env.agents.reference.guest.tables import Tables
from kernel_env.agents.reference.guest.windows import read_windows
from kernel_env.grading.metric import BUILT_IN, find

AMOUNTS = ("rmse", "rmsle", "mae", "median_ae", "mape", "r2")
SHARES = ("log_loss", "brier", "roc_auc", "average_precision")
CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "matthews")


def score_of(metric: str, truth: list[Any], constant: object) -> float:
    """Return the score of a constant; more is better."""
    found = find(metric)
    score = found.score(pd.DataFrame({"y": truth}), pd.DataFrame({"y": [constant] * len(truth)}))
    return score if found.higher_is_better else -score


@pytest.mark.parametrize("metric", AMOUNTS)
@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.floats(0.01, 1000).map(lambda v: round(v, 2)), min_size=3, max_size=15),
    other=st.floats(0, 1000),
)
def test_no_other_amount_scores_better(metric: str, values: list[float], other: float) -> None:
    values = [1.0, 2.0, *values][
        : len(values) // 2 * 2 + 1
    ]  # of an even number the median is two's
    constant = best_constant(pd.Series(values), metric, BUILT_IN[metric].wants)

    for rival in (other, values[0], values[-1]):
        best, found = score_of(metric, values, constant), score_of(metric, values, rival)
        assert best >= found - 1e-9 * max(1, abs(found))


@pytest.mark.parametrize("metric", SHARES)
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.integers(0, 1), min_size=2, max_size=30), other=st.floats(0, 1))
def test_no_other_probability_scores_better(metric: str, values: list[int], other: float) -> None:
    values = [0, 1, *values]
    constant = best_constant(pd.Series(values), metric, BUILT_IN[metric].wants)

    assert score_of(metric, values, constant) >= score_of(metric, values, other) - 1e-9


@pytest.mark.parametrize("metric", CLASSES)
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.sampled_from(["a", "b", "NA"]), min_size=2, max_size=20))
def test_no_other_class_scores_better(metric: str, values: list[str]) -> None:
    values = ["a", "b", *values]
    constant = best_constant(pd.Series(values), metric, "label")

    best = score_of(metric, values, constant)
    assert all(best >= score_of(metric, values, rival) - 1e-9 for rival in {*values})


def test_f1_gets_class_1_and_lists_the_most_frequent_labels() -> None:
    assert best_constant(pd.Series(["0", "0", "1"]), "f1", "binary") == "1"
    assert best_constant(pd.Series(["b a", "b", "c a b"]), "map@2", "list") == "b a"
    assert best_constant(pd.Series(["b a", "b", "b"]), "jaccard", "list") == "b"
    assert best_constant(pd.Series([1, 2, 4]), "own", "integer") == 2


def tables(train: pd.DataFrame, test: pd.DataFrame) -> Tables:
    sample = test[["id"]].assign(y="0")
    return Tables(train=train, test=test, sample=sample, ids=["id"], targets=["y"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
@example(7, 7)
def test_random_targets_depend_on_the_seed_alone(a: int, b: int) -> None:
    table = tables(
        pd.DataFrame({"id": range(1000), "y": np.arange(1000) / 8}),
        pd.DataFrame({"id": range(1000, 1050)}),
    )

    first, second = draw_targets(table, a)["y"], draw_targets(table, b)["y"]

    assert set(first) <= set(table.train.y)
    assert (list(first) == list(second)) == (a == b)


def test_rows_of_a_group_are_held_out_together() -> None:
    person = np.repeat(np.arange(20), 5)
    train = pd.DataFrame({"id": range(100), "person": person, "y": np.arange(100) % 2})
    test = pd.DataFrame({"id": range(100, 110), "person": np.repeat([20, 21], 5)})
    table = tables(train, test)
    task = {"wants": "label", "metric": "accuracy", "kind": "binary classification", "seed": 0}

    splits = hold_out(table, define_problem(table, task, "y"))

    assert find_groups(table) == ["person"]
    assert len(splits) == 4
    for fitted, held in splits:
        assert not set(person[fitted]) & set(person[held])


def test_windows_are_read_by_channel_in_the_order_of_the_samples() -> None:
    names = [f"{channel}_{n}" for n in range(9, -1, -1) for channel in ("ax", "ay")]
    table = pd.DataFrame([range(20)], columns=names)

    windows = read_windows(table)

    assert windows.shape == (1, 2, 10)
    assert list(windows[0, 0]) == list(range(18, -1, -2))
