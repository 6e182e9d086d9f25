"""A comparison of agents says what records show, and what they do not."""

import random
from pathlib import Path

import pytest

from kernel_env import open_episode
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import read_results
from kernel_env.errors import UnknownName, UsageError
from kernel_env.ratings import Comparison, References, compare
from support.episodes import SUBMIT_LINE, execute
from support.records import record

TASKS = [f"t{n:02}" for n in range(10)]
SKILL = {"strong": 0.7, "middle": 0.45, "baseline": 0.4}


def play(
    skills: dict[str, float] = SKILL, tasks: list[str] = TASKS, seeds: int = 2
) -> list[EpisodeResult]:
    """Return records of agents whose scores depend on skill, task and seed."""
    noise = random.Random(1)
    return [
        record(
            agent,
            task,
            seed,
            round(skill + 0.02 * number + 0.03 * noise.random(), 6),
            domain="tabular" if number % 2 else "nlp",
        )
        for agent, skill in skills.items()
        for number, task in enumerate(tasks)
        for seed in range(seeds)
    ]


def row(comparison: Comparison, agent: str):
    return next(each for each in comparison.overall.rows if each.agent == agent)


def test_the_best_agent_is_first_and_the_sentence_says_what_differs() -> None:
    found = compare(play(), draws=50)

    assert [each.agent for each in found.overall.rows] == ["strong", "middle", "baseline"]
    assert found.overall.first == "strong"
    assert found.overall.sentence == (
        "Of 3 pairs, 3 differ by more than noise; the first place is that of strong."
    )
    assert [group.name for group in found.domains] == ["nlp", "tabular"]
    assert found.domains[0].sentence == (
        "Of 3 pairs, none can be told apart: 5 tasks are too few to tell."
    )
    assert found.anchor == "baseline"
    assert row(found, "baseline").rating.rating == 1000
    assert row(found, "strong").rating.rating > 1200
    assert row(found, "strong").rating.first == 1
    assert row(found, "strong").rating.ranks == (1, 1)
    assert row(found, "strong").rating.interval is None, "it won everything: draws say nothing"
    assert found.domains[0].rows[0].rating.first is None, "five tasks are too few"
    position = row(found, "strong").estimates["position"]
    assert (position.tasks, position.of, position.episodes) == (10, 10, 20)
    like, these = position.on_tasks_like_these, position.on_these_tasks
    assert like.low < these.low < position.mean < these.high < like.high
    assert position.bounds is None


async def test_what_episodes_leave_is_compared(tiny: str, tmp_path: Path) -> None:
    for agent in ("baseline", "idle"):
        async with open_episode(tiny, sandbox="local", out=tmp_path, agent=agent) as episode:
            if agent == "baseline":
                await execute(episode, SUBMIT_LINE)
                await execute(episode, "1 / 0")

    found = compare(read_results(tmp_path))

    best, idle = found.overall.rows
    assert (best.agent, best.scored, idle.agent, idle.floor) == ("baseline", 1, "idle", 1)
    assert best.rating.rating == 1000 > idle.rating.rating
    assert best.behaviour.executions_failed.pooled == 1 / 2
    assert best.behaviour.errors[0].name == "ZeroDivisionError"
    assert (best.estimates["aup"].mean, idle.estimates["aup"].mean) == (1, 0)
    assert best.estimates["progress"].mean == best.estimates["position_public"].mean > 0.5
    assert found.domains[0].name == "tabular"
    assert not any("differs between agents" in each for each in found.cautions)


def test_equal_agents_do_not_differ() -> None:
    found = compare(play({"a": 0.5, "b": 0.5}), draws=50)

    assert found.overall.first == ""
    assert "none differs by more than noise; the first place is not decided" in (
        found.overall.sentence
    )


def test_an_agent_that_wins_most_has_an_interval_and_a_range_of_ranks() -> None:
    records = play({"a": 0.5, "baseline": 0.5})

    rating = row(compare(records, draws=200), "a").rating

    assert rating.interval.low < rating.rating < rating.interval.high
    assert rating.ranks == (1, 2)
    assert 0 < rating.first < 1


def test_many_pairs_on_few_tasks_cannot_differ() -> None:
    found = compare(play({f"a{n}": n / 10 for n in range(5)}, TASKS[:6]), draws=10)

    assert found.overall.sentence.endswith(
        "the first place is not decided. With 6 tasks none of 10 pairs can: it takes 9 tasks."
    )


def test_trivial_agents_are_shown_but_not_rated() -> None:
    trivial = {"nop": 0.0, "sample": 0.1}

    found = compare(play({**SKILL, **trivial}), draws=10)
    alone = compare(play(), draws=10)

    assert row(found, "nop").rating is None
    assert not row(found, "sample").rated
    assert len(found.overall.pairs) == 3
    assert row(found, "strong").rating.meetings == row(alone, "strong").rating.meetings


def test_scores_against_the_sample_and_the_solution() -> None:
    scores = {"sample": 0.2, "baseline": 0.6, "openai": 0.5}
    records = [record(agent, score=score) for agent, score in scores.items()]

    measured = row(compare(records, elo=False), "openai").estimates
    given = row(
        compare(
            [record("openai", score=0.5)],
            references={"t1": References(start=0.2, solution=0.6)},
            elo=False,
        ),
        "openai",
    ).estimates
    unknown = row(compare([record("openai", score=0.5)], elo=False), "openai").estimates

    assert measured["vs_baseline"].mean == given["vs_baseline"].mean == pytest.approx(0.75)
    assert measured["beats_solution"].mean == 0
    assert measured["beats_start_by_tenth"].mean == 1
    assert "vs_baseline" not in unknown


def test_an_episode_at_the_floor_has_the_worst_value_of_every_measure() -> None:
    graded = record(
        "a", score=0.9, medal="gold", human_rank=0.9, normalised_private=1.2,
        leaderboard_kind="human", best_by_step=[[2, 10.0, 0.1, 0.9, 0.9]],
    )  # fmt: skip
    floor = record("b", score=None, leaderboard_kind="human")

    found = compare([graded, floor], elo=False)

    best, worst = row(found, "a").estimates, row(found, "b").estimates
    for name in ("position", "position_public", "position_mean", "human_rank", "normalised", "aup"):
        assert worst[name].mean == 0, name
        assert best[name].mean > 0.8, name
    assert (best["medal"].mean, best["gold"].mean, worst["medal"].mean) == (1, 1, 0)
    assert best["normalised"].mean == 1
    assert row(found, "a").normalised_clipped == 1
    assert best["progress"].mean == pytest.approx(0.9 * 9 / 10)
    assert best["progress_seconds"].mean == pytest.approx(0.9 * 90 / 100)
    assert worst["progress"].mean == 0
    assert "progress_money" not in best
    assert best["first_graded"].mean == 2
    assert "first_graded" not in worst


def test_a_task_without_a_leaderboard_has_no_position() -> None:
    records = [
        record(agent, task, position_private=None if task == "t2" else 0.5, score=0.5)
        for agent in ("a", "b")
        for task in ("t1", "t2")
    ]

    estimate = row(compare(records, elo=False), "a").estimates["position"]

    assert (estimate.tasks, estimate.of, estimate.bounds) == (1, 1, None)


def test_a_missing_task_is_bounded_and_a_caution() -> None:
    records = [r for r in play() if (r.agent, r.task) != ("strong", "t03")]
    lost = [
        record("strong", "t03", seed, None, status="machine_failed", domain="tabular")
        for seed in (0, 1)
    ]

    found = compare([*records, *lost], draws=10)

    estimate = row(found, "strong").estimates["position"]
    assert (estimate.tasks, estimate.of) == (9, 10)
    assert estimate.bounds.low == pytest.approx(estimate.mean * 0.9)
    assert estimate.bounds.high == pytest.approx(estimate.mean * 0.9 + 0.1)
    assert next(pair.tasks for pair in found.overall.pairs if "strong" in (pair.a, pair.b)) == 9
    assert found.cautions == (
        "agents miss different shares of their episodes: baseline 0 of 20, middle 0 of 20,"
        " strong 2 of 20",
    )
    cell = next(c for c in found.cells if (c.agent, c.task) == ("strong", "t03"))
    assert (cell.values, cell.missing, cell.mean) == ((), (0, 1), None)


def test_cautions_name_what_is_less_than_fair() -> None:
    records = [
        record("a", "t1", score=0.5),
        record("a", "t2", score=None, status="machine_failed"),
        record("a", "t2", attempt=2, score=0.7),
        record("b", "t1", budget={"steps": 20.0}, cpus=8.0, human_steps=2),
        record("b", "t2", flags={"probing": 2}),
        record("b", "t3", score=None, status="task_failed"),
        record("b", "t2", seed=5, parent="x"),
        record("oracle", "t1"),
    ]

    found = compare(records, elo=False)

    assert list(found.cautions) == [
        "2 of the at least 6 tasks that it takes to tell agents apart",
        "1 of 2 episodes of a are not the first attempt; first attempts alone have 0.500,"
        " all have 0.600",
        "the budget differs between agents on t1",
        "the hardware differs between agents on t1",
        "people took steps in 1 episode of b",
        "an audit for cheats has flags in 1 episode of b; look at them with kernel-env audit",
        "left out for all agents, because their own metric or data failed: t3",
        "left out, because they continue another one: 1 episode",
        "left out, because it knows the answers: oracle",
    ]


def test_agents_of_one_program_are_told_apart_by_labels() -> None:
    records = [record("openai", model="m", key=key, episode=key) for key in ("k1", "k2")]
    names = {"k1": "terse", "k2": "chatty"}

    found = compare(records, label=lambda r: names[r.key], anchor="terse", draws=10)

    assert found.anchor == "openai (m, terse)"
    with pytest.raises(UsageError, match="the anchor openai is 2 agents; name one of"):
        compare(records, label=lambda r: names[r.key], anchor="openai")


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(UnknownName, match="no measure named 'positon'; did you mean 'position'"):
        compare(play(), measure="positon")
    with pytest.raises(UnknownName, match="no agent named 'strnog'; did you mean 'strong'"):
        compare(play(), anchor="strnog")


def test_repeats_of_a_task() -> None:
    records = [record(seed=seed, score=score) for seed, score in enumerate((0.6, 0.4, 0.7))]

    one, _, three = row(compare(records, elo=False), "baseline").repeats

    assert (one.k, one.tasks) == (1, 1)
    assert (one.pass_at, one.pass_all) == pytest.approx((2 / 3, 2 / 3))
    assert one.best_of == pytest.approx(1.7 / 3)
    assert (three.pass_at, three.pass_all, three.best_of) == (1, 0, 0.7)


def test_one_agent_has_nothing_to_be_rated_by() -> None:
    found = compare(play({"a": 0.5}), draws=10)

    assert row(found, "a").rating.rating == 1000
    assert row(found, "a").rating.meetings == 0
    assert found.overall.sentence == "Fewer than two agents: nothing is compared."


def test_money_is_of_all_attempts_and_the_front_is_of_the_means() -> None:
    records = [
        record("a", score=0.5, money=1.0),
        record("a", score=None, money=3.0, attempt=2, status="model_failed"),
        record("b", score=0.4, money=2.0),
    ]

    found = compare(records, elo=False)

    assert row(found, "a").total_money == 4
    assert row(found, "a").estimates["money"].mean == 1
    assert found.overall.fronts["money"] == ("a",)


def test_families_of_tasks_make_intervals_wider() -> None:
    families = {task: "low" if task < "t05" else "high" for task in TASKS}

    alone, related = compare(play(), draws=20), compare(play(), draws=20, families=families)

    own, clustered = (
        row(found, "strong").estimates["position"].on_tasks_like_these for found in (alone, related)
    )
    assert clustered.high - clustered.low > own.high - own.low
