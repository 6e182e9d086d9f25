"""Choose a part of the rows of a prepared task, so that its split stays what it is.

A training row stays a training row and a test row a test row, public or private as before. So
groups and families that the task keeps apart stay apart. Which rows:

- Where a column has moments in time, a stretch of time: rows of a series mean something in their
  order. If the test set follows the training set, it is the stretch around the border; otherwise
  one at a random place.
- Otherwise a random part with about the same share of each class, or of each tenth of the target.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_env.errors import TaskError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TENTHS = 10
FEWEST = 10
"""The least number of rows in each part."""
MOMENTS = 0.99
"""The share of a column's values that must be moments."""
YEARS = (1700, 2200)
"""The years in which they must be."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of a prepared task; every value is text, as in the files."""

    train: "pd.DataFrame"
    test: "pd.DataFrame"
    answers: "pd.DataFrame"
    """IDs, targets and `Usage`, a row for each test row."""
    id_column: str
    target: str


def choose(tables: Tables, rows: int, test_rows: int, seed: int) -> tuple[list[int], list[int]]:
    """Return the positions of the training and of the test rows to keep, in their order.

    Args:
        tables: the task's tables.
        rows: how many training rows are wanted.
        test_rows: how many test rows are wanted.
        seed: what the random choice depends on.

    Raises:
        TaskError: the task has fewer rows, or a part would have fewer than `FEWEST`.
    """
    import numpy as np

    for name, wanted, table in (("train", rows, tables.train), ("test", test_rows, tables.test)):
        if wanted > len(table):
            raise TaskError(
                f"{name}.csv has {len(table):,} rows; {wanted:,} are wanted: choose fewer"
            )
    random = np.random.default_rng(seed)
    times = moments(tables)
    answers = tables.answers.set_index(tables.id_column).loc[tables.test[tables.id_column]]
    if times is not None:
        public = (answers["Usage"] == "Public").to_numpy()
        train, test = stretch(*times, public, rows, test_rows, random)
    else:
        train = sample(tables.train[tables.target], rows, random)
        test = sample(answers[tables.target], test_rows, random, within=answers["Usage"])
    check(tables, train, test)
    return train, test


def check(tables: Tables, train: list[int], test: list[int]) -> None:
    """Check that no part has too few rows. Raises `TaskError`."""
    usage = tables.answers.set_index(tables.id_column)["Usage"]
    kept = usage.loc[tables.test[tables.id_column].iloc[test]]
    sizes = {"train": len(train), **{name: (kept == name).sum() for name in ("Public", "Private")}}
    for name, size in sizes.items():
        if size < FEWEST:
            raise TaskError(
                f"the part {name} would have {size} rows; it needs at least {FEWEST}: choose more"
                " --rows or --test-rows"
            )


# ── by class, or by the size of the target ────────────────────────────────────────────────


def sample(
    target: "pd.Series[str]",
    count: int,
    random: "np.random.Generator",
    within: "pd.Series[str] | None" = None,
) -> list[int]:
    """Return positions of `count` rows, with about the same share of each stratum.

    A stratum is a class, or a tenth of a target of many numbers; in each value of `within`.
    Shares are rounded by largest remainders (Hamilton's method), and no stratum loses its last row
    while another has several.
    """
    import numpy as np

    strata = strata_of(target)
    if within is not None:
        strata = [f"{part} {each}" for part, each in zip(within, strata, strict=True)]
    names, found = np.unique(np.array(strata, str), return_inverse=True)
    sizes = np.bincount(found)
    exact = sizes * count / sizes.sum()
    quota = np.floor(exact).astype(int)
    if count >= len(names):
        quota = np.maximum(quota, 1)
    for stratum in np.argsort(quota - exact, kind="stable"):
        if quota.sum() >= count:
            break
        quota[stratum] += 1
    while quota.sum() > count:
        quota[np.argmax(quota)] -= 1
    kept = [random.permutation(np.flatnonzero(found == n))[: quota[n]] for n in range(len(names))]
    return sorted(int(row) for rows in kept for row in rows)


def strata_of(target: "pd.Series[str]") -> list[str]:
    """Return the stratum of each row: the class, or the tenth of a target of many numbers."""
    import pandas as pd

    numbers = pd.to_numeric(target, errors="coerce")
    if numbers.isna().any() or numbers.nunique() <= 2 * TENTHS:
        return [str(each) for each in target]
    tenths = pd.qcut(numbers.rank(method="first"), TENTHS, labels=False)
    return [str(each) for each in tenths]


# ── by time ───────────────────────────────────────────────────────────────────────────────


def moments(tables: Tables) -> "tuple[np.ndarray, np.ndarray] | None":
    """Return the times of training and test rows, in seconds; None without such a column."""
    import pandas as pd

    for name in tables.test.columns:
        if name == tables.id_column or name not in tables.train:
            continue
        both = pd.concat([tables.train[name], tables.test[name]], ignore_index=True)
        if pd.to_numeric(both, errors="coerce").notna().mean() > 1 - MOMENTS:
            continue  # numbers are no moments, whatever a parser makes of them
        times = pd.to_datetime(both, errors="coerce", utc=True, format="ISO8601")
        if times.notna().mean() >= MOMENTS and times.dt.year.dropna().between(*YEARS).all():
            seconds = times.ffill().bfill().astype("datetime64[s, UTC]").astype("int64").to_numpy()
            return seconds[: len(tables.train)], seconds[len(tables.train) :]
    return None


def stretch(
    train: "np.ndarray",
    test: "np.ndarray",
    public: "np.ndarray",
    rows: int,
    test_rows: int,
    random: "np.random.Generator",
) -> tuple[list[int], list[int]]:
    """Return positions of rows in a stretch of time.

    If the test set follows the training set: the last training rows and the first test rows.
    Otherwise from a random moment on: the first test rows, and the latest training rows before the
    last of them. The share of public test rows stays what it is.

    Args:
        train: the times of the training rows, in seconds.
        test: those of the test rows.
        public: which test rows are public.
        rows: how many training rows are wanted.
        test_rows: how many test rows are wanted.
        random: where the stretch begins depends on it.
    """
    import numpy as np

    by_time = np.argsort(train, kind="stable")
    follows = train.max() < test.min()
    start = test.min() if follows else train[by_time[random.integers(len(train) - rows + 1)]]
    quota = round(test_rows * public.mean())
    chosen = np.concatenate(
        [
            first_from(start, test, np.flatnonzero(part), count)
            for part, count in ((public, quota), (~public, test_rows - quota))
        ]
    )
    before = by_time if follows else by_time[train[by_time] <= test[chosen].max()]
    kept = before[-rows:] if len(before) >= rows else by_time[:rows]
    return sorted(map(int, kept)), sorted(map(int, chosen))


def first_from(
    start: int, times: "np.ndarray", positions: "np.ndarray", count: int
) -> "np.ndarray":
    """Return the first so many positions from a moment on; the last ones if there are fewer."""
    import numpy as np

    ordered = positions[np.argsort(times[positions], kind="stable")]
    begin = min(int(np.searchsorted(times[ordered], start)), max(0, len(ordered) - count))
    return ordered[begin : begin + count]
