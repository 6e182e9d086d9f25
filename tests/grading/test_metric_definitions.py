"""Hold the built-in metrics against Kaggle's definitions, computed here in plain Python.

Absent classes, ties, single rows and extreme values are drawn often.
"""

import math
from collections.abc import Sequence
from statistics import fmean, median

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError
from kernel_env.grading import metric

pytestmark = [
    pytest.mark.filterwarnings("ignore:A single label was found"),  # scikit-learn's, on one class
    pytest.mark.filterwarnings("ignore:y_pred contains classes"),
]
Pairs = list[tuple[float, float]]
QUICK = settings(deadline=None, max_examples=60)

LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1)
RATINGS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1)
BITS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)
PROBABILITY = st.sampled_from([0.0, 1.0, 0.5, 1e-15, 1e-300, 1 - 1e-16]) | st.floats(0, 1)
FORECASTS = st.lists(st.tuples(st.integers(0, 1), PROBABILITY), min_size=1)
RANKED = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from([-1e300, 0.0, 0.25, 0.5, 1e300]) | st.floats(-1, 1)
    ),
    min_size=2,
)
NUMBER = st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e6]) | st.floats(-1e6, 1e6)
NUMBERS = st.lists(st.tuples(NUMBER, NUMBER), min_size=1)
POSITIVE = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1)


def score(name: str, pairs: Sequence[tuple[object, object]]) -> float:
    """Compute a metric of (true, said) pairs, as the grader calls it: with any index."""
    table = pd.DataFrame(pairs, columns=["true", "said"], index=range(7, 7 + len(pairs)))
    dtype = float if metric.find(name).wants in ("number", "non_negative", "probability") else None
    sides = (table[[side]].rename(columns={side: "y"}) for side in ("true", "said"))
    return metric.find(name).score(*(s.astype(dtype) if dtype else s for s in sides))


# ── classes ───────────────────────────────────────────────────────────────────────────────


def f1_of(pairs: Sequence[tuple[object, object]], label: object) -> float:
    hits = sum(t == s == label for t, s in pairs)
    wrong = sum((t == label) != (s == label) for t, s in pairs)
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


@given(LABELS)
@QUICK
def test_metrics_of_labels(pairs: list[tuple[str, str]]) -> None:
    classes = sorted({label for pair in pairs for label in pair})
    true = sorted({t for t, _ in pairs})
    counts = {label: sum(t == label for t, _ in pairs) for label in classes}
    recalls = [sum(t == s == label for t, s in pairs) / counts[label] for label in true]

    assert score("accuracy", pairs) == pytest.approx(fmean(t == s for t, s in pairs))
    assert score("balanced_accuracy", pairs) == pytest.approx(fmean(recalls))
    assert score("macro_f1", pairs) == pytest.approx(fmean(f1_of(pairs, c) for c in classes))
    weighted = sum(f1_of(pairs, c) * counts[c] for c in classes) / len(pairs)
    assert score("weighted_f1", pairs) == pytest.approx(weighted)


@given(LABELS)
@QUICK
def test_matthews_is_the_correlation_of_one_hot_codes(pairs: list[tuple[str, str]]) -> None:
    true, said = ([[pair[n] == c for c in "abcde"] for pair in pairs] for n in (0, 1))
    a, b = (np.array(side, float) - np.mean(np.array(side, float), axis=0) for side in (true, said))
    norm = math.sqrt((a * a).sum() * (b * b).sum())
    expected = (a * b).sum() / norm if norm > 1e-12 else 0.0

    assert score("matthews", pairs) == pytest.approx(expected, abs=1e-9)


@given(BITS)
@QUICK
def test_f1_of_class_1(pairs: list[tuple[int, int]]) -> None:
    assert score("f1", pairs) == pytest.approx(f1_of(pairs, 1))


def kaggle_kappa(pairs: list[tuple[int, int]]) -> float:
    """Compute quadratic weighted kappa over all ratings from the smallest to the largest."""
    low, high = min(map(min, pairs)), max(map(max, pairs))
    ratings, total = range(low, high + 1), len(pairs)
    true, said = ([sum(pair[n] == r for pair in pairs) for r in ratings] for n in (0, 1))
    observed = expected = 0.0
    for i, a in enumerate(ratings):
        for j, b in enumerate(ratings):
            cost = (a - b) ** 2 / max(1, high - low) ** 2
            observed += cost * sum(pair == (a, b) for pair in pairs) / total
            expected += cost * true[i] * said[j] / total**2
    return 1.0 if expected == 0 else 1 - observed / expected


def test_kappa_measures_distances_of_ratings_not_of_ranks() -> None:
    pairs = list(zip([0, 1, 5, 5, 0, 1], [0, 5, 5, 5, 0, 1], strict=True))

    assert score("quadratic_kappa", pairs) == pytest.approx(0.75)
    assert kaggle_kappa(pairs) == pytest.approx(0.75)


@given(RATINGS)
@QUICK
def test_kappa(pairs: list[tuple[int, int]]) -> None:
    assert score("quadratic_kappa", pairs) == pytest.approx(kaggle_kappa(pairs), abs=1e-9)


# ── probabilities and rankings ────────────────────────────────────────────────────────────


def clipped(probability: float) -> float:
    return max(min(probability, 1 - 1e-15), 1e-15)


@pytest.mark.parametrize(("said", "expected"), [(0.0, 34.5387763949), (1.0, 9.99200722e-16)])
def test_log_loss_is_clipped_at_kaggles_bound(said: float, expected: float) -> None:
    assert score("log_loss", [(1, said)]) == pytest.approx(expected)


@given(FORECASTS)
@QUICK
def test_losses_of_one_probability(pairs: list[tuple[int, float]]) -> None:
    losses = [-math.log(clipped(p) if t else 1 - clipped(p)) for t, p in pairs]

    assert score("log_loss", pairs) == pytest.approx(fmean(losses), rel=1e-6, abs=1e-14)
    assert score("brier", pairs) == pytest.approx(fmean((t - p) ** 2 for t, p in pairs))


@given(st.lists(st.tuples(st.integers(0, 2), *[PROBABILITY] * 3), min_size=1))
@QUICK
def test_log_loss_of_several_classes(rows: list[tuple[int, float, float, float]]) -> None:
    truth = pd.DataFrame([[float(n == row[0]) for n in range(3)] for row in rows])
    said = pd.DataFrame([row[1:] for row in rows])
    known = metric.find("log_loss")
    assert known.check is not None
    if any(not any(row[1:]) for row in rows):
        with pytest.raises(SubmissionError, match="the probability 0 for every class"):
            known.check(said)
        return
    known.check(said)

    expected = fmean(-math.log(clipped(row[1:][row[0]] / math.fsum(row[1:]))) for row in rows)
    assert known.score(truth, said) == pytest.approx(expected, rel=1e-6, abs=1e-14)


@given(RANKED)
@QUICK
def test_roc_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, float]]) -> None:
    high, low = ([s for t, s in pairs if t == bit] for bit in (1, 0))
    assume(high and low)
    wins = fmean((a > b) + (a == b) / 2 for a in high for b in low)

    assert score("roc_auc", pairs) == pytest.approx(wins, abs=1e-12)


@given(RANKED)
@QUICK
def test_average_precision(pairs: list[tuple[int, float]]) -> None:
    positives = sum(t for t, _ in pairs)
    assume(positives)
    expected, before = 0.0, 0
    for threshold in sorted({s for _, s in pairs}, reverse=True):
        chosen = [t for t, s in pairs if s >= threshold]
        expected += (sum(chosen) - before) / positives * fmean(chosen)
        before = sum(chosen)

    assert score("average_precision", pairs) == pytest.approx(expected, abs=1e-12)


# ── numbers ───────────────────────────────────────────────────────────────────────────────


@given(NUMBERS)
@QUICK
def test_losses_of_numbers(pairs: Pairs) -> None:
    errors = [abs(t - s) for t, s in pairs]

    assert score("rmse", pairs) == pytest.approx(math.sqrt(fmean(e * e for e in errors)))
    assert score("mae", pairs) == pytest.approx(fmean(errors))
    assert score("median_ae", pairs) == pytest.approx(median(errors))


@given(POSITIVE)
@QUICK
def test_rmsle(pairs: Pairs) -> None:
    squares = [(math.log1p(t) - math.log1p(s)) ** 2 for t, s in pairs]

    assert score("rmsle", pairs) == pytest.approx(math.sqrt(fmean(squares)), abs=1e-12)


@given(NUMBERS)
@QUICK
def test_r2_and_mape(pairs: Pairs) -> None:
    assume(len(pairs) > 1)
    mean = fmean(t for t, _ in pairs)
    total = math.fsum((t - mean) ** 2 for t, _ in pairs)
    assume(total > 1e-6)
    rest = math.fsum((t - s) ** 2 for t, s in pairs)

    assert score("r2", pairs) == pytest.approx(1 - rest / total, rel=1e-6, abs=1e-6)
    shares = [abs(t - s) / max(abs(t), np.finfo(float).eps) for t, s in pairs]
    assert score("mape", pairs) == pytest.approx(fmean(shares))


@pytest.mark.parametrize("name", ["rmse", "mae", "rmsle", "brier", "roc_auc", "log_loss"])
def test_predictions_rounded_to_32_bits_score_nearly_the_same(name: str) -> None:
    random = np.random.default_rng(0)
    pairs = [(int(n % 3 == 0), p) for n, p in enumerate(random.random(300))]
    rounded = [(t, float(np.float32(p))) for t, p in pairs]

    assert score(name, rounded) == pytest.approx(score(name, pairs), abs=1e-6)
