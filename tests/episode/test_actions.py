"""Actions do what they promise: information, cells, resets, and nothing for an invalid action."""

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode, RequestInfo, Reset
from kernel_env.episode.step import Graded, InfoShown, KernelReset
from kernel_env.errors import ActionError
from support.episodes import PUBLIC_RMSE, SUBMIT_LINE, execute, execute_text


async def test_an_agent_reads_the_task_and_submits(episode: Episode) -> None:
    assert "Predict `y` from `x`" in episode.observation.text
    info = await episode.act(RequestInfo(info_type="data_structure"))
    assert isinstance(info.outcome, InfoShown)
    assert "140 rows; columns: id, x, y" in info.outcome.text

    step = await episode.act(ExecuteCode(code=SUBMIT_LINE), thought="A line should do.")
    observation = episode.observation

    assert isinstance(step.submission, Graded)
    assert step.submission.grade.private_score is None
    assert observation.public_score == pytest.approx(PUBLIC_RMSE, abs=0.001)
    assert observation.position == step.reward == 1.0
    assert observation.best_public_score == observation.public_score
    assert "Submission graded: public score 0.0880" in observation.text
    assert observation.steps_left == 28


async def test_a_reset_starts_a_fresh_kernel_in_an_empty_workspace(episode: Episode) -> None:
    await execute(
        episode, "x = 1; open('f', 'w'); import subprocess; subprocess.Popen(['sleep', '77'])"
    )

    step = await episode.act(Reset())
    after = await execute_text(
        episode,
        "import os; print('x' in dir(), os.listdir())\n"
        "!cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [7]7'",
    )

    assert isinstance(step.outcome, KernelReset)
    assert after.split() == ["False", "[]", "0"]
    assert episode.observation.steps_left == 27


async def test_a_workspace_that_cannot_be_deleted_does_not_stop_a_reset(episode: Episode) -> None:
    await execute(
        episode,
        "import os\nfor i in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
        "os.mkdir('z'); open('z/f', 'w'); os.chmod('z', 0)",
    )

    await episode.act(Reset())

    assert await execute_text(episode, "import os; os.listdir('.')") == "[]"


async def test_an_invalid_action_changes_nothing(episode: Episode) -> None:
    with pytest.raises(ActionError, match="no action of kind 'fly'"):
        await episode.act({"kind": "fly"})

    assert len(episode.steps) == 0
