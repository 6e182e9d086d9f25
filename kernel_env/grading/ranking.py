"""Score the order of predictions: of censored times among all rows, and of rows in each query.

Both metrics read one more column of the answers, which is the last one of their table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def concordance(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
    """Compute Harrell's concordance index of right-censored times.

    The share of comparable pairs in which the row whose event came first has the smaller
    prediction, from 0 to 1; equal predictions count one half. So a prediction is a number that is
    larger the later the event is expected: a time, or a risk with its sign changed. Two rows are
    comparable if the earlier time is that of an event; of two equal times, if one is an event and
    the other censored. NaN if no pair is. Source: Harrell, Lee & Mark, Multivariable prognostic
    models, Statistics in Medicine 15 (1996), as in `concordance` of R's survival and in
    `concordance_index_censored` of scikit-survival, which takes risks.

    Args:
        answers: the time, and 1 if the event happened then or 0 if the row is censored, shape
            (rows, 2).
        submission: the predictions, shape (rows, 1).
    """
    import numpy as np

    time = answers.iloc[:, 0].to_numpy(dtype=float)
    event = answers.iloc[:, 1].to_numpy(dtype=float)
    if not np.isin(event, (0, 1)).all():
        raise ValueError(f"the column {answers.columns[1]!r} holds other cells than 0 and 1")
    order = np.lexsort((1 - event, time))  # events come before rows that are censored then
    time, event = time[order], event[order] == 1
    ranks = np.unique(submission.iloc[:, 0].to_numpy()[order], return_inverse=True)[1]
    # The rows that are comparable with an event follow it: those after the events of its time.
    first = np.searchsorted(time, time, side="left")
    events_of_time = np.add.reduceat(event, np.flatnonzero(np.diff(time, prepend=np.nan) != 0))
    starts = first + np.repeat(events_of_time, np.unique(time, return_counts=True)[1])
    starts, bounds = starts[event], ranks[event]
    smaller, equal = count_smaller_and_equal(ranks, starts, bounds)
    pairs = (len(ranks) - starts).sum()
    larger = pairs - smaller.sum() - equal.sum()
    return float((larger + equal.sum() / 2) / pairs) if pairs else float("nan")


def count_smaller_and_equal(
    values: "np.ndarray", starts: "np.ndarray", bounds: "np.ndarray"
) -> "tuple[np.ndarray, np.ndarray]":
    """Count the values from each start on that are smaller than, and equal to, its bound.

    A wavelet matrix answers all questions at once, one bit of the values after another, in time
    and memory proportional to n log n and n. Source: Claude, Navarro & Ordóñez, The wavelet
    matrix, Information Systems 47 (2015).

    Args:
        values: whole numbers of at least 0, shape (n,).
        starts: positions from 0 to n, shape (questions,).
        bounds: whole numbers of at least 0, none larger than all values, shape (questions,).
    """
    import numpy as np

    low, high = starts, np.full(len(starts), len(values))
    smaller = np.zeros(len(starts), dtype=np.int64)
    for bit in reversed(range(int(values.max(initial=0)).bit_length())):
        is_one = (values >> bit) & 1 == 1
        zeros_before = np.concatenate(([0], np.cumsum(~is_one)))
        zeros, wants_one = zeros_before[-1], (bounds >> bit) & 1 == 1
        low_zeros, high_zeros = zeros_before[low], zeros_before[high]
        smaller += np.where(wants_one, high_zeros - low_zeros, 0)
        low = np.where(wants_one, zeros + low - low_zeros, low_zeros)
        high = np.where(wants_one, zeros + high - high_zeros, high_zeros)
        values = np.concatenate((values[~is_one], values[is_one]))
    return smaller, high - low


def ndcg(k: int) -> "Callable[[pd.DataFrame, pd.DataFrame], float]":
    """Return NDCG@k, the normalised discounted cumulative gain of each query's first k rows.

    A query's rows are ordered by their predictions, the largest first. DCG@k is the sum of
    relevance / log2(1 + rank) over the first k ranks; NDCG@k is DCG@k divided by that of the best
    order, from 0 to 1. Rows with equal predictions share the mean discount of their ranks, so that
    their order in the file does not matter. The score is the mean over the queries; those whose
    rows are all equally relevant are left out, because each order of theirs is as good; NaN if all
    are.

    Sources: Järvelin & Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20
    (2002); McSherry & Najork, Computing information retrieval performance measures efficiently in
    the presence of tied scores, ECIR 2008. Each query's number is scikit-learn's `ndcg_score`.
    """

    def score(answers: "pd.DataFrame", submission: "pd.DataFrame") -> float:
        import numpy as np
        import pandas as pd

        relevance = answers.iloc[:, 0].to_numpy(dtype=float)
        query = pd.factorize(answers.iloc[:, 1])[0]
        if (relevance < 0).any():
            raise ValueError(f"{answers.columns[0]!r} holds a relevance below 0")

        def gains(values: "np.ndarray") -> "np.ndarray":
            """Return each query's DCG@k if its rows are ordered by values."""
            order = np.lexsort((-values, query))
            rows = pd.DataFrame({"query": query[order], "value": values[order]})
            rank = rows.groupby("query").cumcount().to_numpy() + 1
            discount = pd.Series(np.where(rank <= k, 1 / np.log2(1 + rank), 0.0))
            shared = discount.groupby([rows["query"], rows["value"]]).transform("mean")
            return np.asarray((shared * relevance[order]).groupby(rows["query"]).sum())

        of_query = pd.Series(relevance).groupby(query)
        has_order = (of_query.max() > of_query.min()).to_numpy()
        if not has_order.any():
            return float("nan")
        found, best = gains(submission.iloc[:, 0].to_numpy(dtype=float)), gains(relevance)
        return float((found[has_order] / best[has_order]).mean())

    return score
