import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.audit.task.permutation_test import (
    MAX_PERMUTATIONS,
    STOP_AFTER,
    agreement,
    column_error_reduction,
    neighbour_similarity,
)

SEEDS = st.integers(0, 2**32 - 1)


def classes(random: np.random.RandomState, rows: int, count: int) -> np.ndarray:
    """Random classes, one-hot encoded."""
    return np.eye(count)[random.randint(count, size=rows)]


def test_p_values_of_random_predictions_are_uniform() -> None:
    def p(seed: int) -> float:
        random = np.random.RandomState(seed)
        return agreement(random.random_sample((60, 3)), classes(random, 60, 3)).p

    values = [p(seed) for seed in range(400)]

    assert 0.06 < np.mean([value <= 0.1 for value in values]) < 0.14
    assert 0.44 < np.mean([value <= 0.5 for value in values]) < 0.56


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_predictions_that_equal_the_answers_are_not_chance(seed: int, count: int) -> None:
    random = np.random.RandomState(seed)
    answers = classes(random, 80, count)

    perfect = agreement(answers, answers)

    assert (perfect.at_least_as_high, perfect.permutations) == (0, MAX_PERMUTATIONS)
    assert not perfect.is_chance
    assert perfect.p == 1 / (MAX_PERMUTATIONS + 1)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.01, 100), st.floats(-100, 100))
def test_the_p_value_does_not_depend_on_scale_and_offset(
    seed: int, scale: float, zero: float
) -> None:
    random = np.random.RandomState(seed)
    predicted, answers = random.random_sample((30, 1)), random.random_sample((30, 1))

    one, other = agreement(predicted, answers), agreement(scale * predicted + zero, answers)

    assert one.is_chance == other.is_chance
    assert one.p == pytest.approx(other.p, rel=0.05)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_p_value_is_deterministic_and_in_its_range(seed: int) -> None:
    random = np.random.RandomState(seed)
    predicted, answers = random.random_sample((20, 2)), random.random_sample((20, 2))

    found = agreement(predicted, answers)

    assert found == agreement(predicted, answers)
    assert 0 < found.p <= 1
    assert found.at_least_as_high <= STOP_AFTER


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_sorted_answers_are_similar_and_shuffled_ones_are_not(seed: int) -> None:
    answers = np.sort(np.random.RandomState(seed).random_sample((100, 1)), axis=0)
    shuffled = answers[np.random.RandomState(7).permutation(100)]

    assert not neighbour_similarity(answers).is_chance
    assert neighbour_similarity(shuffled).is_chance


def test_constant_answers_are_explained_by_chance() -> None:
    same = np.ones((50, 1))

    assert agreement(np.arange(50.0)[:, None], same).p == 1
    assert neighbour_similarity(same).p == 1


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_a_column_that_encodes_the_class_removes_every_error(seed: int, count: int) -> None:
    random = np.random.RandomState(seed)
    train, truth = np.arange(300) % count, random.randint(count, size=100)
    codes = random.permutation(count).astype(float)

    assert column_error_reduction(codes[train], train, codes[truth], truth) == 1


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_linear_column_removes_the_error_and_noise_does_not(seed: int) -> None:
    random = np.random.RandomState(seed)
    train, truth = random.random_sample(1000), random.random_sample(200)

    assert column_error_reduction(3 * train + 1, train, 3 * truth + 1, truth) > 0.98
    assert (
        column_error_reduction(random.random_sample(1000), train, random.random_sample(200), truth)
        < 0.2
    )


def test_a_column_that_is_missing_for_one_class_removes_every_error() -> None:
    train, truth = np.arange(100) % 2, np.arange(40) % 2
    column, other = np.where(train, np.nan, 5.0), np.where(truth, np.nan, 5.0)

    assert column_error_reduction(column, train, other, truth) == 1
