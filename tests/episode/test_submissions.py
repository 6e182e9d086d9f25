"""A submission is graded when its content changes, or rejected with a reason."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.step import Rejected
from kernel_env.errors import TaskError
from kernel_env.grading.host import Grader
from support.episodes import DEFINE_SUBMIT, PRIVATE_RMSE, SUBMIT_LINE, OpenTiny, execute
from support.files import replace_text


async def test_a_submission_is_graded_only_when_its_content_changes(episode: Episode) -> None:
    codes = (
        SUBMIT_LINE,
        "pass",
        "submit(3)",
        "submit(2)",
        "submit(3)",
        "os.remove(os.environ['OUTPUT_PATH'])",
        "submit(3)",
    )

    submissions = [(await execute(episode, code)).submission for code in codes]

    kinds = [submission and submission.kind for submission in submissions]
    assert kinds == ["graded", None, None, "graded", "graded", None, "graded"]
    assert episode.progress.best is not None
    assert episode.progress.best.step == 1


DEFINE_PATH = """
import os, pandas as pd, shutil; path = os.environ["OUTPUT_PATH"]
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
"""
SPARSE_FILE = "os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10 << 30)"
REMOVE_SUBMISSION = """
if os.path.isdir(path) and not os.path.islink(path):
    shutil.rmtree(path)
elif os.path.lexists(path):
    os.remove(path)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_episode(
    tiny: str, tmp_path_factory: pytest.TempPathFactory, grader: Grader
) -> AsyncIterator[Episode]:
    """An episode for all invalid submissions."""
    out = tmp_path_factory.mktemp("runs")
    async with open_episode(tiny, sandbox="local", out=out, grader=grader) as opened:
        yield opened


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open(path, 'w')", "the submission is empty"),
        ("os.mkdir(path)", "submission.csv is a folder"),
        ("os.symlink('/etc/shadow', path)", "submission.csv is a link"),
        ("os.mkfifo(path)", "submission.csv is a special file"),
        (SPARSE_FILE, "has 10,737,418,240 bytes; at most 1,000,000"),
        (
            "open(path, 'wb').write(bytes(500_000))",
            "only whitespace and zero bytes (500,000 bytes)",
        ),
        ("open(path, 'w').write('a,b\\n1,2\\n')", "this task expects id, y"),
        ("test.assign(y='high')[['id', 'y']].to_csv(path, index=False)", "not finite numbers"),
        ("test.assign(y=None)[['id', 'y']].to_csv(path, index=False)", "missing values"),
        ("test.assign(y=1)[['id', 'y']][:-1].to_csv(path, index=False)", "1 ids are missing"),
        (
            "pd.concat([test, test[:2]]).assign(y=1)[['id', 'y']].to_csv(path, index=False)",
            "2 ids appear more than once",
        ),
    ],
)
async def test_an_invalid_submission_is_rejected_with_a_reason_and_no_reward(
    shared_episode: Episode, code: str, reason: str
) -> None:
    step = await shared_episode.act(ExecuteCode(code=DEFINE_PATH + REMOVE_SUBMISSION + code))

    assert isinstance(step.submission, Rejected), step.outcome
    assert reason in step.submission.reason
    assert step.reward == 0
    text = shared_episode.observation.text
    assert f"Submission rejected: {step.submission.reason}" in text


@pytest.mark.docker
async def test_only_a_regular_file_is_accepted_from_a_container(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="docker") as episode:
        for code, reason in [
            ("os.symlink('/etc/shadow', path)", "is a link"),
            ("os.symlink('/data/test.csv', path)", "is a link"),
            ("os.mkfifo(path)", "is a special file"),
            ("os.mkdir(path)", "is a folder"),
            (SPARSE_FILE, "at most 1,000,000"),
        ]:
            outcome = await execute(episode, DEFINE_PATH + REMOVE_SUBMISSION + code)
            assert isinstance(outcome.submission, Rejected), outcome
            assert reason in outcome.submission.reason


async def test_an_infinite_score_is_rejected(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        outcome = await execute(episode, DEFINE_SUBMIT + "test['x'] = 1e300\nsubmit(1)")

    assert isinstance(outcome.submission, Rejected)
    assert "rmse of these predictions is inf" in outcome.submission.reason


async def test_a_metric_that_fails_ends_the_episode_with_a_task_error(
    task_folder: Path, tmp_path: Path
) -> None:
    replace_text(
        task_folder / "task.toml", 'name = "rmse"', 'name = "grade.py"\nhigher_is_better = false'
    )
    (task_folder / "grade.py").write_text(
        "def grade(answers, submission):\n    raise KeyError('oops')\n"
    )

    with pytest.raises(TaskError, match="the metric failed: KeyError"):
        async with open_episode(
            str(task_folder), sandbox="local", out=tmp_path / "runs"
        ) as episode:
            await execute(episode, SUBMIT_LINE)

    ending = read_journal(episode.folder / "journal.jsonl").ending
    assert ending is not None
    assert ending.status == "task_failed"
    assert episode.notebook.is_file()


async def test_the_feedback_both_includes_the_private_score(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", feedback="both") as episode:
        await execute(episode, SUBMIT_LINE)

        assert episode.observation.private_score == pytest.approx(PRIVATE_RMSE, abs=0.0001)
        assert "private score 0.0936" in episode.observation.text


@pytest.mark.parametrize(
    ("reward", "expected"), [("raw", [1.0, 0.1, 0.5]), ("improvement", [2.0, 0.9, 0.0])]
)
async def test_each_reward_follows_its_definition(
    open_tiny: OpenTiny, reward: str, expected: list[float]
) -> None:
    async with open_tiny(sandbox="local", reward=reward) as episode:
        steps = [
            await episode.act(ExecuteCode(code=code))
            for code in (DEFINE_SUBMIT + "submit(2)", "submit(3)", "submit(2.5)")
        ]

    assert [step.reward for step in steps] == pytest.approx(expected, abs=0.15)
