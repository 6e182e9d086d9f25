"""A fork starts with the grades of its parent and the submission that it last saw."""

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.step import Graded, Rejected
from support.episodes import DEFINE_SUBMIT, PRIVATE_RMSE, SUBMIT_LINE, OpenTiny, execute

WRITE_INVALID = "_ = open(os.environ['OUTPUT_PATH'], 'w').write('bad')"


async def test_a_fork_has_the_best_submission_of_its_parent_and_its_private_grade(
    episode: Episode,
) -> None:
    await execute(episode, SUBMIT_LINE)

    (child,) = await episode.fork()
    worse = await execute(child, "submit(2)")
    best = child.progress.best
    ending = await child.end()
    await execute(episode, "os.remove(os.environ['OUTPUT_PATH'])")
    (before_submission,) = await episode.fork(at_step=0)
    ungraded = await before_submission.end()

    assert isinstance(worse.submission, Graded)
    assert best is not None
    assert best.step == ending.chosen_step == 1
    assert ending.grade is not None
    assert ending.grade.private_score == pytest.approx(PRIVATE_RMSE, abs=0.0001)
    assert ungraded.grade is None


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("submit(3)", "submit(3)", None),
        ("submit(3); os.remove(os.environ['OUTPUT_PATH'])", "submit(3)", Graded),
        ("submit(3)\nos.remove(os.environ['OUTPUT_PATH'])", "pass", None),
        (WRITE_INVALID, "pass", None),
    ],
)
async def test_a_fork_grades_what_its_parent_would_grade(
    open_tiny: OpenTiny, before: str, after: str, kind: type | None
) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, SUBMIT_LINE)
        await execute(episode, before)

        (child,) = await episode.fork()
        outcomes = [await execute(each, after) for each in (episode, child)]
        await child.end()

    for outcome in outcomes:
        assert outcome.submission is None if kind is None else isinstance(outcome.submission, kind)


async def test_a_fork_does_not_report_a_rejected_submission_again(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, DEFINE_SUBMIT + "submit(3)")
        rejected = await execute(episode, WRITE_INVALID)
        (child,) = await episode.fork()
        unchanged = await execute(child, "pass")
        graded = await execute(child, "submit(3)")
        await child.end()

    assert isinstance(rejected.submission, Rejected)
    assert unchanged.submission is None
    assert isinstance(graded.submission, Graded)
