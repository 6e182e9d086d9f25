"""Records become outcomes: scored, floor or missing; and what agents did is counted."""

import math

import pytest

from kernel_env.episode.activity import CellCounts
from kernel_env.errors import UsageError
from kernel_env.ratings.behaviour import behaviour_of
from kernel_env.ratings.outcomes import name_of, outcomes_of
from support.records import record


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("finished", "floor"),
        ("budget", "floor"),
        ("agent_failed", "floor"),
        ("model_failed", "missing"),
        ("setup_failed", "missing"),
        ("machine_failed", "missing"),
        ("crashed", "missing"),
        ("interrupted", "missing"),
    ],
)
def test_an_ungraded_episode_is_the_floor_only_if_the_agent_ended_it(
    status: str, kind: str
) -> None:
    found = outcomes_of([record(score=None, status=status)])

    if kind == "floor":
        (outcome,) = found.outcomes
        assert not outcome.scored
        assert outcome.strength == -math.inf
    else:
        assert found.outcomes == ()
        assert found.missing == {"baseline": (("t1", 0),)}


def test_a_score_of_an_interrupted_episode_does_not_count() -> None:
    found = outcomes_of([record(score=0.9, status="interrupted")])

    assert found.outcomes == ()
    assert found.agents == ("baseline",)


def test_the_last_attempt_that_counts_is_the_outcome_whatever_it_scored() -> None:
    attempts = [
        record(score=0.9, attempt=1),
        record(score=0.4, attempt=2),
        record(score=0.8, attempt=3, status="machine_failed"),
    ]

    (outcome,) = outcomes_of(reversed(attempts)).outcomes

    assert outcome.record.private_score == 0.4
    assert outcome.attempts == 3
    assert not outcome.first


def test_attempts_without_numbers_are_in_the_order_in_which_they_started() -> None:
    early = record(score=0.9, started="2026-01-01T00:00:00+00:00", episode="b")
    late = record(score=0.4, started="2026-01-02T00:00:00+00:00", episode="a")

    (outcome,) = outcomes_of([late, early, late]).outcomes

    assert outcome.record.private_score == 0.4
    assert outcome.attempts == 2


def test_a_task_that_failed_is_missing_for_all_agents_until_it_is_tried_again() -> None:
    broken = record("openai", "t1", score=None, status="task_failed")
    others = [record("baseline", "t1"), record("baseline", "t2")]

    failed = outcomes_of([broken, *others])
    mended = outcomes_of([broken, *others, record("openai", "t1", attempt=2)])

    assert failed.failed_tasks == ("t1",)
    assert list(failed.tasks) == ["t2"]
    assert [outcome.task for outcome in failed.outcomes] == ["t2"]
    assert mended.failed_tasks == ()
    assert len(mended.outcomes) == 3


def test_forks_and_agents_that_know_the_answers_are_left_out() -> None:
    found = outcomes_of([record(), record(parent="x", seed=1), record("oracle")])

    assert len(found.outcomes) == 1
    assert (found.forks, found.cheats, found.agents) == (1, ("oracle",), ("baseline",))


def test_names_of_agents() -> None:
    plain, with_model = record(), record("openai", model="m")

    assert [name_of(plain), name_of(plain, "baseline"), name_of(plain, "x")] == [
        "baseline",
        "baseline",
        "baseline (x)",
    ]
    assert name_of(record("")) == "no agent"
    assert [name_of(with_model), name_of(with_model, "x")] == ["openai (m)", "openai (m, x)"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"higher_is_better": False}, "says of Accuracy that higher is better, and that lower is"),
        ({"metric": "RMSE"}, "is scored by Accuracy and by RMSE"),
    ],
)
def test_scores_of_a_task_that_cannot_be_compared_are_one_line(
    change: dict[str, object], text: str
) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        outcomes_of([record(), record("openai", **change)])

    assert "\n" not in str(caught.value)


def test_an_ungraded_record_has_no_direction() -> None:
    found = outcomes_of([record(higher_is_better=False), record("openai", score=None)])

    assert len(found.outcomes) == 2


def test_no_records_are_one_line() -> None:
    with pytest.raises(UsageError, match="no records of episodes; give folders"):
        outcomes_of([])


def test_the_action_mix_and_failure_rates_of_an_episode() -> None:
    # info, validate ok, validate error, execute error, execute graded, execute time-out, history,
    # execute refused
    kinds = {"request_info": 1, "validate_code": 2, "execute_code": 4, "get_history": 1}
    cells = CellCounts(
        validate_run=2, validate_failed=1, execute_run=4, execute_failed=2, timeout=1
    )
    own = record(
        steps=8, steps_by_kind=kinds, cells=cells, refusals=1, submissions=1, errors={"KeyError": 2}
    )

    found = behaviour_of([own])

    shares = {kind: rate.pooled for kind, rate in found.mix.items()}
    assert shares == {
        "request_info": 1 / 8,
        "validate_code": 2 / 8,
        "execute_code": 4 / 8,
        "get_history": 1 / 8,
        "reset": 0,
    }
    assert found.validations_failed.pooled == found.validations_failed.macro == 1 / 2
    assert found.executions_failed.pooled == 2 / 4
    assert (found.refused.events, found.refused.of) == (1, 2)


def test_the_most_frequent_errors_name_their_episodes() -> None:
    records = [
        record(seed=0, errors={"KeyError": 1, "E1": 1}),
        record(seed=1, errors={"KeyError": 3, **{f"F{i}": 1 for i in range(12)}}),
    ]

    first, *others = behaviour_of(records).errors

    assert (first.name, first.times) == ("KeyError", 4)
    assert first.episodes == (records[1].episode, records[0].episode)
    assert len(others) == 9
