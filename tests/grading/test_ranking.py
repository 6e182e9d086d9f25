"""Hold the metrics of orders against their definitions, in plain Python and in scikit-learn."""

import math
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading import metric
from kernel_env.grading.host import Grader, GradingSpec
from support.schemas import schema

QUICK = settings(deadline=None, max_examples=100)
PREDICTION = st.sampled_from([-1e300, -1.0, 0.0, 0.5, 1e300]) | st.floats(-9, 9)
TIMES = st.lists(st.tuples(st.integers(0, 9), st.booleans(), PREDICTION), min_size=1, max_size=30)
"""Time, whether the event happened then, and the prediction."""
RANKED = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 4), PREDICTION), min_size=1, max_size=30
)
"""Query, relevance and prediction."""


def score(
    name: str, truth: Sequence[float], extra: Sequence[object], said: Sequence[float]
) -> float:
    """Compute a metric as the grader calls it: the further column is text, the index any."""
    index = range(7, 7 + len(truth))
    answers = pd.DataFrame({"y": truth, "extra": list(map(str, extra))}, index=index)
    submission = pd.DataFrame({"y": said}, dtype=float, index=index)
    return metric.find(name).score(answers.astype({"y": float}), submission)


# ── concordance ───────────────────────────────────────────────────────────────────────────


def concordance_of_pairs(rows: Sequence[tuple[float, bool, float]]) -> float:
    """Compute Harrell's index pair by pair; NaN without a comparable pair."""
    earned = [
        (said < later_said) + (said == later_said) / 2
        for (time, event, said), (later, other_event, later_said) in product(rows, rows)
        if event and (time, False) < (later, not other_event)
    ]
    return fmean(earned) if earned else math.nan


def concordance(rows: Sequence[tuple[float, bool, float]]) -> float:
    times, events, said = zip(*rows, strict=True)
    return score("concordance", times, list(map(int, events)), said)


def test_concordance_by_hand() -> None:
    # Comparable: (1, 2), (1, 3), (1, 4), (3, 4). Right: the first two and the last; tied: (1, 4).
    rows = [(1.0, True, 0.1), (2.0, False, 0.9), (3.0, True, 0.05), (4.0, True, 0.1)]

    assert concordance([(1.0, True, 0.1), (2.0, False, 0.9)]) == 1.0
    assert concordance(rows) == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert concordance([(1.0, True, 2.0), (1.0, False, 3.0)]) == 1.0  # an event comes first
    assert math.isnan(concordance([(1.0, True, 2.0), (1.0, True, 3.0)]))  # events at one time
    assert math.isnan(concordance([(1.0, False, 2.0), (2.0, True, 3.0)]))  # nothing is known


@given(TIMES)
@QUICK
def test_concordance_is_the_share_of_comparable_pairs_in_order(
    rows: list[tuple[int, bool, float]],
) -> None:
    assert concordance(rows) == pytest.approx(concordance_of_pairs(rows), nan_ok=True)


@given(TIMES)
@QUICK
def test_concordance_depends_on_the_order_of_predictions_alone(
    rows: list[tuple[int, bool, float]],
) -> None:
    assume(not math.isnan(found := concordance(rows)))
    ranks = {said: float(n) for n, said in enumerate(sorted({said for *_, said in rows}))}

    assert concordance([(t, e, ranks[s]) for t, e, s in rows]) == found
    assert concordance([(t, e, -ranks[s]) for t, e, s in rows]) == pytest.approx(1 - found)
    assert concordance([(t, e, 0.0) for t, e, _ in rows]) == 0.5
    assert concordance(rows[::-1]) == pytest.approx(found)


@given(RANKED)
@QUICK
def test_without_censoring_and_two_times_it_is_the_area_under_the_roc_curve(
    rows: list[tuple[str, int, float]],
) -> None:
    late = [int(relevance > 1) for _, relevance, _ in rows]
    said = [said for *_, said in rows]
    assume(len(set(late)) == 2)

    expected = sklearn.metrics.roc_auc_score(late, said)
    assert score("concordance", late, [1] * len(late), said) == pytest.approx(expected)


def test_concordance_of_many_rows_needs_little_memory() -> None:
    random = np.random.RandomState(0)
    time, event = random.randint(1, 5000, 200_000), random.randint(0, 2, 200_000)
    said = np.log(time) + random.normal(size=200_000)

    tracemalloc.start()
    found = score("concordance", time, event, said)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert 0.5 < found < 1
    assert peak < 200_000 * 1000  # bytes; all pairs would be 40 GB


def test_an_event_is_0_or_1() -> None:
    with pytest.raises(ValueError, match="'extra' holds other cells than 0 and 1"):
        score("concordance", [1, 2], [1, 2], [0, 1])


# ── NDCG ──────────────────────────────────────────────────────────────────────────────────


def ndcg_of_queries(k: int, rows: Sequence[tuple[str, int, float]]) -> float:
    """Compute the mean of scikit-learn's NDCG@k over queries with an order to find."""
    queries = defaultdict(list)
    for query, relevance, said in rows:
        queries[query].append((relevance, said))
    found = [
        sklearn.metrics.ndcg_score(*([list(side)] for side in zip(*pairs, strict=True)), k=k)
        for pairs in queries.values()
        if len({relevance for relevance, _ in pairs}) > 1
    ]
    return fmean(found) if found else math.nan


def ndcg(k: int, rows: Sequence[tuple[str, int, float]]) -> float:
    queries, relevance, said = zip(*rows, strict=True)
    return score(f"ndcg@{k}", relevance, queries, said)


def test_ndcg_by_hand() -> None:
    rows = [("a", 3, 0.9), ("a", 0, 0.5), ("a", 2, 0.1), ("b", 1, 0.2), ("b", 0, 0.7)]

    first = (3 + 2 / 2) / (3 + 2 / math.log2(3))
    assert ndcg(3, rows) == pytest.approx((first + 1 / math.log2(3)) / 2)
    assert ndcg(1, rows) == pytest.approx((1 + 0) / 2)
    assert ndcg(3, [*rows, ("c", 1, 0.0), ("d", 0, 0.0), ("d", 0, 1.0)]) == ndcg(3, rows)
    assert ndcg(1, [("a", 1, 0.5), ("a", 0, 0.5)]) == 0.5  # equal predictions share the ranks


@pytest.mark.parametrize("k", [1, 3, 100])
@given(rows=RANKED)
@QUICK
def test_ndcg_is_scikit_learns_mean_over_queries(
    k: int, rows: list[tuple[str, int, float]]
) -> None:
    assert ndcg(k, rows) == pytest.approx(ndcg_of_queries(k, rows), nan_ok=True)


@given(RANKED)
@QUICK
def test_the_relevance_itself_is_the_best_prediction(rows: list[tuple[str, int, float]]) -> None:
    assume(not math.isnan(found := ndcg(3, rows)))

    assert 0 <= found <= 1 + 1e-12
    assert ndcg(3, [(q, r, float(r)) for q, r, _ in rows]) == pytest.approx(1)
    assert ndcg(3, rows[::-1]) == pytest.approx(found)


def test_a_relevance_is_at_least_0() -> None:
    with pytest.raises(ValueError, match="a relevance below 0"):
        score("ndcg@2", [1, -1], ["a", "a"], [0, 1])


# ── through the grading process ───────────────────────────────────────────────────────────


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    rows = pd.DataFrame({"id": range(40), "y": range(40), "died": [n % 2 for n in range(40)]})
    rows["Usage"] = ["Public" if n < 10 else "Private" for n in range(40)]
    rows.to_csv(tmp_path / "answers.csv", index=False)
    return tmp_path / "answers.csv"


def spec(answers: Path, column: str) -> GradingSpec:
    return GradingSpec(
        answers=answers,
        schema=schema(targets=("y",)),
        metric="concordance",
        metric_column=column,
    )


async def test_the_grader_gives_the_metric_the_column_of_the_answers(answers: Path) -> None:
    said = [39.0 - n if n >= 10 else n for n in range(40)]
    table = pd.DataFrame({"id": range(40), "y": said}).sample(frac=1, random_state=0)

    async with Grader() as grader:
        data = table.to_csv(index=False).encode()
        found = await grader.grade(data, spec(answers, "died"), ("Public", "Private"))
        with pytest.raises(SubmissionError, match="values that are not finite numbers"):
            await grader.grade(b"id,y\n0,soon\n", spec(answers, "died"), ("Public",))
        with pytest.raises(SubmissionError, match="unexpected: died"):
            await grader.grade(b"id,y,died\n0,1,1\n", spec(answers, "died"), ("Public",))
        with pytest.raises(TaskError, match="the answers have no column 'event'"):
            await grader.grade(data, spec(answers, "event"), ("Public",))

    assert (found.public, found.private) == (1.0, 0.0)
