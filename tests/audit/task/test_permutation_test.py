import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.audit.task.permutation_test import (
    ENOUGH,
    ORDERS,
    agreement,
    errors_removed,
    is_surprising,
    likeness_of_neighbours,
)

SEEDS = st.integers(0, 2**32 - 1)


def classes(random: np.random.RandomState, rows: int, count: int) -> np.ndarray:
    """Classes by lot, as indicator columns."""
    return np.eye(count)[random.randint(count, size=rows)]


def test_random_predictions_have_a_p_value_below_a_tenth_a_tenth_of_the_time() -> None:
    def p(seed: int) -> float:
        random = np.random.RandomState(seed)
        return agreement(random.random_sample((60, 3)), classes(random, 60, 3)).p

    values = [p(seed) for seed in range(400)]

    assert 0.06 < np.mean([value <= 0.1 for value in values]) < 0.14
    assert 0.44 < np.mean([value <= 0.5 for value in values]) < 0.56


@settings(max_examples=10)
@given(SEEDS, st.integers(2, 5))
def test_a_sound_order_is_explained_by_chance_and_the_answers_themselves_are_not(
    seed: int, count: int
) -> None:
    random = np.random.RandomState(seed)
    answers = classes(random, 80, count)

    perfect = agreement(answers, answers)

    assert (perfect.as_good, perfect.orders) == (0, ORDERS)
    assert not perfect.explains
    assert perfect.p == 1 / (ORDERS + 1)


@settings(max_examples=10)
@given(SEEDS, st.floats(0.01, 100), st.floats(-100, 100))
def test_the_scale_and_the_zero_of_predictions_do_not_matter(
    seed: int, scale: float, zero: float
) -> None:
    random = np.random.RandomState(seed)
    predicted, answers = random.random_sample((30, 1)), random.random_sample((30, 1))

    one, other = agreement(predicted, answers), agreement(scale * predicted + zero, answers)

    assert one.explains == other.explains
    assert one.p == pytest.approx(other.p, rel=0.05)


@settings(max_examples=10)
@given(SEEDS)
def test_a_p_value_is_the_same_each_time_and_above_0_and_at_most_1(seed: int) -> None:
    random = np.random.RandomState(seed)
    predicted, answers = random.random_sample((20, 2)), random.random_sample((20, 2))

    found = agreement(predicted, answers)

    assert found == agreement(predicted, answers)
    assert 0 < found.p <= 1
    assert found.as_good <= ENOUGH


@settings(max_examples=10)
@given(SEEDS)
def test_sorted_answers_are_alike_and_the_same_by_lot_are_not(seed: int) -> None:
    answers = np.sort(np.random.RandomState(seed).random_sample((100, 1)), axis=0)
    by_lot = answers[np.random.RandomState(7).permutation(100)]

    assert not likeness_of_neighbours(answers).explains
    assert likeness_of_neighbours(by_lot).explains


def test_answers_that_are_all_the_same_are_explained_by_chance() -> None:
    same = np.ones((50, 1))

    assert agreement(np.arange(50.0)[:, None], same).p == 1
    assert likeness_of_neighbours(same).p == 1


@settings(max_examples=10)
@given(SEEDS, st.integers(2, 6))
def test_a_column_that_is_the_class_in_other_words_removes_every_error(
    seed: int, count: int
) -> None:
    random = np.random.RandomState(seed)
    train, truth = np.arange(300) % count, random.randint(count, size=100)
    words = random.permutation(count).astype(float)

    assert errors_removed(words[train], train, words[truth], truth) == 1


@settings(max_examples=10)
@given(SEEDS)
def test_a_straight_line_is_found_and_noise_removes_nothing(seed: int) -> None:
    random = np.random.RandomState(seed)
    train, truth = random.random_sample(1000), random.random_sample(200)

    assert errors_removed(3 * train + 1, train, 3 * truth + 1, truth) > 0.98
    assert errors_removed(random.random_sample(1000), train, random.random_sample(200), truth) < 0.2


def test_a_value_that_is_missing_for_one_class_alone_is_a_leak() -> None:
    train, truth = np.arange(100) % 2, np.arange(40) % 2
    column, other = np.where(train, np.nan, 5.0), np.where(truth, np.nan, 5.0)

    assert errors_removed(column, train, other, truth) == 1


@given(st.integers(1, 50), st.floats(0, 100))
def test_more_coincidences_are_never_less_surprising(count: int, expected: float) -> None:
    assert is_surprising(count, expected) <= is_surprising(count + 1, expected)
    assert is_surprising(count, 0)
    assert not is_surprising(count, count)
