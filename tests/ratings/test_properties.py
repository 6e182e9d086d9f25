"""What holds for all comparisons, whatever the records."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.episode.result import EpisodeResult
from kernel_env.grading.leaderboard import place
from kernel_env.ratings import compare
from kernel_env.ratings.differences import holm, sign_flip_p, smallest_p
from kernel_env.ratings.elo import rate, task_wins
from kernel_env.ratings.intervals import bounds, interquartile_mean, mean, wilson
from kernel_env.ratings.measures import area_under_progress
from kernel_env.ratings.profiles import aup, performance_profile, ratio
from kernel_env.ratings.repeats import best_of_k, pass_all_k, pass_at_k
from support.records import record

AGENTS = ("a", "b", "c", "d")
FLOOR = -math.inf
SHARES = st.integers(0, 8).map(lambda n: n / 8)
"""A coarse grid, so that ties occur."""
VALUES = st.one_of(SHARES, st.just(FLOOR))
CELLS = st.dictionaries(st.sampled_from(AGENTS), st.lists(VALUES, min_size=1, max_size=3))
STRENGTHS = st.dictionaries(st.sampled_from(["t1", "t2", "t3", "t4"]), CELLS, min_size=1)
STATUSES = ("finished", "budget", "agent_failed", "model_failed", "machine_failed", "crashed")


@st.composite
def record_lists(draw: st.DrawFn) -> list[EpisodeResult]:
    """Records of some agents on some tasks, with several attempts, lost and ungraded episodes."""
    keys = st.tuples(
        st.sampled_from(AGENTS),
        st.sampled_from([f"t{n}" for n in range(8)]),
        st.integers(0, 2),
        st.integers(1, 2),
    )
    outcomes = st.tuples(st.one_of(SHARES, st.none()), st.sampled_from(STATUSES))
    found = draw(st.dictionaries(keys, outcomes, min_size=1, max_size=30))
    return [
        record(agent, task, seed, score, attempt=attempt, status=status, money=seed / 10)
        for (agent, task, seed, attempt), (score, status) in found.items()
    ]


def text_of(records: list[EpisodeResult], **options: object) -> str:
    return json.dumps(compare(records, draws=5, **options).json(), allow_nan=False)


def ratings(strengths: dict, agents: tuple[str, ...] = AGENTS, **options: object) -> list[float]:
    found = rate(strengths, agents, draws=0, **options)
    return [found[agent].rating for agent in sorted(agents)]


@settings(deadline=None, max_examples=25)
@given(record_lists(), st.randoms())
def test_the_order_of_records_changes_no_byte(
    records: list[EpisodeResult], source: random.Random
) -> None:
    shuffled = [*records, *records[:2]]
    source.shuffle(shuffled)

    assert text_of(shuffled) == text_of(records)


@settings(deadline=None, max_examples=25)
@given(record_lists(), st.permutations(range(3)))
def test_the_numbers_of_seeds_mean_nothing(
    records: list[EpisodeResult], numbers: list[int]
) -> None:
    """Seeds of one agent are renumbered, those of others are not."""
    other = [
        replace(each, seed=numbers[each.seed]) if each.agent == "a" else each for each in records
    ]

    first, second = compare(records, draws=0).overall, compare(other, draws=0).overall

    assert [row.agent for row in first.rows] == [row.agent for row in second.rows]
    assert first.sentence == second.sentence
    for one, two in zip(first.rows, second.rows, strict=True):
        assert one.estimates.keys() == two.estimates.keys()
        assert one.rating.rating == pytest.approx(two.rating.rating)
        for name, estimate in one.estimates.items():
            assert estimate.mean == pytest.approx(two.estimates[name].mean)


@settings(deadline=None, max_examples=40)
@given(STRENGTHS, st.permutations(AGENTS))
def test_the_order_of_agents_means_nothing(strengths: dict, order: list[str]) -> None:
    assert ratings(strengths, tuple(order)) == pytest.approx(ratings(strengths))


@settings(deadline=None, max_examples=40)
@given(STRENGTHS)
def test_only_the_order_of_scores_counts_in_ratings(strengths: dict) -> None:
    stretched = {
        task: {agent: [math.exp(3 * value) for value in each] for agent, each in cells.items()}
        for task, cells in strengths.items()
    }

    assert ratings(stretched) == pytest.approx(ratings(strengths))


@given(SHARES, st.lists(SHARES, min_size=1), st.booleans())
def test_positions_stay_when_a_metric_is_stretched_or_turned(
    score: float, board: list[float], higher: bool
) -> None:
    position = place(score, board, higher_is_better=higher).position

    stretched = place(
        math.exp(score), [math.exp(each) for each in board], higher_is_better=higher
    ).position
    turned = place(-score, [-each for each in board], higher_is_better=not higher).position

    assert position == stretched == turned


@settings(deadline=None, max_examples=25)
@given(record_lists())
def test_a_metric_turned_around_changes_nothing(records: list[EpisodeResult]) -> None:
    turned = [
        replace(
            each,
            private_score=None if each.private_score is None else -each.private_score,
            higher_is_better=False,
        )
        for each in records
    ]

    first, second = compare(records, draws=10).overall, compare(turned, draws=10).overall

    assert first.pairs == second.pairs
    assert [row.rating for row in first.rows] == [row.rating for row in second.rows]


@settings(deadline=None, max_examples=40)
@given(STRENGTHS, st.lists(SHARES, min_size=1, max_size=2))
def test_an_agent_that_met_nobody_moves_nobody(strengths: dict, values: list[float]) -> None:
    more = {**strengths, "t9": {"e": values}}

    found = rate(more, [*AGENTS, "e"], anchor="a", draws=0)

    assert [found[agent].rating for agent in AGENTS] == pytest.approx(
        ratings(strengths, anchor="a")
    )
    assert found["e"].meetings == 0


@given(CELLS.filter(bool))
def test_a_cell_less_changes_only_its_agents_entries(cells: dict) -> None:
    gone = min(cells)

    before = task_wins(cells, AGENTS)
    after = task_wins({agent: each for agent, each in cells.items() if agent != gone}, AGENTS)

    changed = np.argwhere(before != after)
    assert all(AGENTS.index(gone) in pair for pair in changed)
    assert not after[AGENTS.index(gone)].any()


@settings(deadline=None, max_examples=25)
@given(STRENGTHS)
def test_one_agent_alone_has_the_rating_of_the_anchor(strengths: dict) -> None:
    found = rate(strengths, ["a"], draws=5)["a"]

    assert (found.rating, found.meetings, found.interval) == (1000, 0, None)


@settings(deadline=None, max_examples=25)
@given(st.lists(CELLS, min_size=1, max_size=4))
def test_agents_that_always_tie_are_equal(tasks: list) -> None:
    strengths = {
        str(n): {agent: [0.5 for _ in each] for agent, each in cells.items()}
        for n, cells in enumerate(tasks)
    }

    assert ratings(strengths, anchor="b") == pytest.approx([1000] * 4)


@settings(deadline=None, max_examples=25)
@given(st.lists(CELLS, min_size=6, max_size=8))
def test_the_first_place_is_shared_among_all_agents(tasks: list) -> None:
    found = rate({str(n): cells for n, cells in enumerate(tasks)}, AGENTS, draws=25)

    firsts = [rating.first for rating in found.values() if rating.first is not None]
    assert sum(firsts) <= 1 + 1e-9
    for rating in found.values():
        if rating.ranks is not None:
            assert 1 <= rating.ranks[0] <= rating.ranks[1] <= len(AGENTS)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.data())
def test_the_sign_of_all_differences_changes_no_p(
    differences: list[float], data: st.DataObject
) -> None:
    p = sign_flip_p(differences)

    assert smallest_p(len(differences)) <= p <= 1
    assert p == sign_flip_p([-each for each in differences])
    assert p == sign_flip_p(data.draw(st.permutations(differences)))


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusted_p_values_are_larger_and_in_the_same_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)

    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


@given(st.integers(1, 100), st.data())
def test_intervals_and_bounds_contain_what_was_seen(n: int, data: st.DataObject) -> None:
    share = data.draw(st.floats(0, 1))
    known = data.draw(st.integers(1, n))

    for interval in (wilson(share * n, n), bounds(share, known, n, 0, 1)):
        assert -1e-9 <= interval.low <= interval.high <= 1 + 1e-9
    assert wilson(share * n, n).low <= share + 1e-9
    assert wilson(share * n, n).high >= share - 1e-9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_more_attempts_are_never_worse(values: list[float]) -> None:
    n = len(values)
    best = [best_of_k(values, k) or 0 for k in range(1, n + 1)]

    assert best == sorted(best) or np.diff(best).min() > -1e-9
    assert best[0] == pytest.approx(mean(values))
    assert best[-1] == pytest.approx(max(values))
    assert min(values) - 1e-9 <= interquartile_mean(values) <= max(values) + 1e-9
    for c in range(n + 1):
        for k in range(1, n + 1):
            assert (pass_all_k(n, c, k) or 0) <= c / n + 1e-9
            assert c / n - 1e-9 <= (pass_at_k(n, c, k) or 0)


@given(st.lists(st.one_of(st.none(), st.floats(1, 100)), min_size=1))
def test_areas_under_profiles_are_shares_and_a_failure_is_never_better(errors: list) -> None:
    ratios = [ratio(error, 1.0) for error in errors]
    failing = [math.inf, *ratios[1:]]

    assert 0 <= aup(failing) <= aup(ratios) <= 1
    assert performance_profile(ratios, [1, 2, 4]) == sorted(performance_profile(ratios, [1, 2, 4]))


@given(st.lists(st.tuples(st.integers(0, 20), SHARES), max_size=6), st.integers(1, 20))
def test_progress_is_at_most_the_best_value(points: list, budget: int) -> None:
    rising = sorted(zip(sorted(x for x, _ in points), sorted(y for _, y in points), strict=True))

    assert 0 <= area_under_progress(rising, budget) <= max((y for _, y in rising), default=0) + 1e-9
