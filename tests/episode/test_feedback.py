"""An agent learns of its scores what the feedback says, and no more."""

from pathlib import Path

import pytest

from kernel_env.episode import Episode, EpisodeConfig
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.observation import history
from kernel_env.episode.step import Graded, Step
from kernel_env.errors import UnknownName, UsageError
from support.episodes import DEFINE_SUBMIT, OpenTiny, execute
from support.files import replace_text

LINE = DEFINE_SUBMIT + "test = test[::-1]; import numpy as np\n"
"""Defines `submit`; the rows of the test set are in `test`."""


async def submit(episode: Episode, code: str) -> Step:
    """Execute a cell that submits; return its step."""
    step = await episode.act(ExecuteCode(code=code))
    assert isinstance(step.submission, Graded), step.outcome
    return step


def shown(step: Step) -> str:
    """Return what the agent was shown of a submission."""
    assert isinstance(step.submission, Graded)
    return step.submission.shown


async def test_validity_says_nothing_about_scores(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", feedback="validity", reward="progress") as episode:
        first = await submit(episode, LINE + "submit(2)")
        seen = episode.observation
        await submit(episode, "submit(3)")
        worse = await submit(episode, "submit(1)")
        texts = [seen.text, episode.observation.text, history(episode.steps)]
        first_text = episode.rules_text

    assert (seen.public_score, seen.best_public_score, seen.position) == (None, None, 0.0)
    assert seen.private_score is None
    for text in texts:
        assert "Submission accepted: it is well-formed." in text
        assert "score" not in text
        assert "beats" not in text
        assert "reward" not in text
    assert "scores are not shown" in first_text
    assert (first.reward, worse.reward) == (0.75, 0.0)
    ending = episode.steps.ending
    assert ending is not None
    assert ending.chosen_step == 2


async def test_the_ladder_shows_a_score_only_if_it_is_better_by_more_than_chance(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="local", feedback="ladder", reward="position") as episode:
        steps = [
            await submit(episode, LINE + "submit(2)"),
            await submit(episode, "submit(2.5)"),
            await submit(episode, "submit(2)"),
            await submit(episode, "submit(2.9)"),
        ]
        best = episode.observation.best_public_score
        # One row changed is never more than chance, in whichever direction.
        for sign in (1, -1):
            code = (
                f"guess = 2.9 * test.x + {sign} * 0.05 * (np.arange(len(test)) == 0)\n"
                "test.assign(y=guess)[['id', 'y']]"
                ".to_csv(os.environ['OUTPUT_PATH'], index=False)"
            )
            steps.append(await submit(episode, code))
            assert "does not beat the best public score" in episode.observation.text
            assert episode.observation.public_score is None
            assert episode.observation.best_public_score == best
        text = history(episode.steps)

    assert [shown(step) for step in steps] == [
        *("score", "score", "no gain", "score", "no gain", "no gain")
    ]
    assert [step.reward for step in steps[4:]] == [0.0, 0.0]
    assert text.count("Submission graded") == 3
    ending = episode.steps.ending
    assert ending is not None
    assert ending.chosen_step == 4


async def test_the_ladder_needs_rows(task_folder: Path) -> None:
    toml = task_folder / "task.toml"
    replace_text(toml, 'name = "rmse"', 'name = "grade.py"\nhigher_is_better = false')
    replace_text(toml, 'id_columns = ["id"]\ntarget_columns = ["y"]\n', "")
    (task_folder / "grade.py").write_text("def grade(answers, submission):\n    return 0.5\n")

    with pytest.raises(UsageError, match="the feedback ladder compares rows"):
        EpisodeConfig(task=str(task_folder), feedback="ladder")


async def test_a_shown_score_has_no_more_digits_than_its_place_needs(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        step = await submit(episode, LINE + "submit(2.987)")
        same = await submit(episode, "submit(2.98701)")
        seen = episode.observation

    assert isinstance(step.submission, Graded)
    assert isinstance(same.submission, Graded)
    exact = step.submission.grade.public_score
    assert step.submission.grade != same.submission.grade
    assert seen.public_score == seen.best_public_score == float(f"{exact:.3g}")
    assert f"{exact:.6g}" not in seen.text
    assert "(step 1)" in seen.text  # the order of equal rounded scores is not shown


async def test_more_submissions_than_the_budget_are_not_scored(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", budget={"submissions": 2}, reward="position") as episode:
        assert "Only 2 submissions are graded" in episode.observation.text
        await submit(episode, LINE + "submit(1)")
        assert "1 submission can still be graded" in episode.observation.text
        await submit(episode, "submit(2)")
        third = await submit(episode, "submit(3)")
        seen = episode.observation

    assert shown(third) == "not counted"
    assert third.reward == 0
    assert "the budget of submissions is used up" in seen.text
    assert seen.public_score is None
    ending = episode.steps.ending
    assert ending is not None
    assert ending.chosen_step == 2


@pytest.mark.parametrize(
    ("after", "chosen"),
    [
        ("pass", 2),
        ("_ = open(os.environ['OUTPUT_PATH'], 'w').write('bad')", None),
        ("os.remove(os.environ['OUTPUT_PATH'])", None),
        ("submit(3)", 3),
        ("submit(2); submit(1)", 3),
    ],
)
async def test_the_file_that_is_left_counts(
    open_tiny: OpenTiny, after: str, chosen: int | None
) -> None:
    async with open_tiny(sandbox="local", counts="last", budget={"submissions": 2}) as episode:
        await execute(episode, LINE + "submit(3)")
        await execute(episode, "submit(2)")
        await execute(episode, after)

    ending, result = episode.steps.ending, episode.result
    assert ending is not None
    assert result is not None
    assert ending.chosen_step == chosen
    assert (result.private_score is None) == (chosen is None)
    assert (result.feedback, result.counts) == ("public", "last")


async def test_a_task_names_its_rules_and_options_replace_them(task_folder: Path) -> None:
    replace_text(
        task_folder / "task.toml",
        "[limits]",
        '[protocol]\nfeedback = "validity"\ncounts = "last"\n\n[limits]\nsubmissions = 7',
    )

    usual = EpisodeConfig(task=str(task_folder))
    given = EpisodeConfig(task=str(task_folder), feedback="public", counts="best")

    assert (usual.protocol.feedback, usual.protocol.counts) == ("validity", "last")
    assert (given.protocol.feedback, given.protocol.counts) == ("public", "best")
    with pytest.raises(UnknownName, match="no rule on what counts named 'first'"):
        EpisodeConfig(task=str(task_folder), counts="first")  # type: ignore[arg-type]
