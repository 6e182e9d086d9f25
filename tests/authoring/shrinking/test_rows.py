"""Which rows a small variant keeps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.authoring.shrinking.rows import Tables, choose, sample
from kernel_env.errors import TaskError

CLASSES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=200)


@given(target=CLASSES, share=st.floats(0, 1), seed=st.integers(0, 9))
def test_a_sample_has_the_wanted_size_and_about_the_same_shares(
    target: list[str], share: float, seed: int
) -> None:
    count = round(share * len(target))
    kept = sample(pd.Series(target), count, np.random.default_rng(seed))

    assert len(kept) == len(set(kept)) == count
    assert kept == sorted(kept)
    classes = sorted(set(target))
    found = {name: sum(target[row] == name for row in kept) for name in classes}
    if count >= len(classes):
        assert all(found.values()), "no class is lost"
    for name in classes:
        exact = target.count(name) * count / len(target)
        assert abs(found[name] - exact) < len(classes) + 1


@given(seed=st.integers(0, 10**6), size=st.integers(60, 200))
def test_a_sample_of_numbers_has_each_tenth(seed: int, size: int) -> None:
    target = list(np.random.default_rng(seed).permutation(10**4)[:size])
    kept = sample(pd.Series(map(str, target)), 40, np.random.default_rng(seed))

    ranks = np.argsort(np.argsort(target))[kept] * 10 // len(target)
    assert set(ranks) == set(range(10))
    assert np.bincount(ranks).max() <= 6


def tables(train: dict[str, list[str]], test: dict[str, list[str]], y: list[str]) -> Tables:
    ids = {"train": len(y), "test": len(next(iter(test.values())))}
    answers = pd.DataFrame({"id": map(str, range(ids["test"])), "y": ["1"] * ids["test"]})
    answers["Usage"] = ["Public" if n % 3 == 0 else "Private" for n in range(ids["test"])]
    return Tables(
        train=pd.DataFrame({"id": map(str, range(ids["train"])), **train, "y": y}),
        test=pd.DataFrame({"id": map(str, range(ids["test"])), **test}),
        answers=answers,
        id_column="id",
        target="y",
    )


def hours(first: int, count: int) -> list[str]:
    return [str(each) for each in pd.date_range("2020-01-01", periods=first + count, freq="h")][
        first:
    ]


def test_a_forecast_keeps_the_rows_around_the_border() -> None:
    found = tables({"when": hours(0, 300)}, {"when": hours(300, 100)}, ["1"] * 300)

    train, test = choose(found, 50, 40, seed=3)

    assert train == list(range(250, 300))
    assert len(test) == 40
    assert max(test) < 42, "every third row is public, and so is every third that is kept"


def test_of_interleaved_times_a_stretch_is_kept() -> None:
    every = hours(0, 400)
    later = [n for n in range(400) if n // 20 % 4 == 3]
    earlier = [n for n in range(400) if n // 20 % 4 != 3]
    found = tables(
        {"when": [every[n] for n in earlier]}, {"when": [every[n] for n in later]}, ["1"] * 300
    )

    train, test = choose(found, 60, 40, seed=0)

    times = [*(earlier[n] for n in train), *(later[n] for n in test)]
    assert (len(train), len(test)) == (60, 40)
    assert max(times) - min(times) < 260


def test_blocks_of_public_rows_keep_their_share() -> None:
    found = tables({"when": hours(0, 300)}, {"when": hours(300, 100)}, ["1"] * 300)
    found.answers["Usage"] = ["Private"] * 70 + ["Public"] * 30

    _, test = choose(found, 50, 40, seed=3)

    assert test == [*range(28), *range(70, 82)]


def test_numbers_are_no_moments() -> None:
    found = tables({"year": ["1999"] * 300}, {"year": ["2001"] * 100}, ["a", "b"] * 150)

    train, _ = choose(found, 50, 40, seed=0)

    assert train != list(range(250, 300))


@pytest.mark.parametrize(
    ("rows", "test_rows", "message"),
    [
        (301, 40, r"train.csv has 300 rows; 301 are wanted: choose fewer"),
        (50, 101, r"test.csv has 100 rows; 101 are wanted: choose fewer"),
        (9, 40, r"the part train would have 9 rows; it needs at least 10: choose more --rows"),
        (50, 21, r"the part Public would have 7 rows"),
    ],
)
def test_too_many_or_too_few_rows_are_one_line(rows: int, test_rows: int, message: str) -> None:
    found = tables({"x": ["1"] * 300}, {"x": ["1"] * 100}, ["a", "b"] * 150)

    with pytest.raises(TaskError, match=message):
        choose(found, rows, test_rows, seed=0)
