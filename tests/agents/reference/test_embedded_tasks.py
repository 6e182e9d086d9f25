"""Reference agents leave a valid submission on every embedded task; the pipeline is competent."""

from pathlib import Path

import pytest

from kernel_env.episode import EpisodeConfig
from kernel_env.runner import Plan, run_episode
from support.embedded_tasks import EMBEDDED

pytestmark = pytest.mark.docker

FAST = {("automl-lite", "image-segment")}
"""What runs by default, on a small task."""
TRIVIAL = ("sample", "constant", "random-valid")
HALF, NEAR_BOTTOM = 0.5, 0.25
"""Shares of a reference board."""
EVERYWHERE = [
    pytest.param(
        agent, task, marks=() if (agent, task) in FAST else pytest.mark.slow, id=f"{agent}-{task}"
    )
    for agent in (*TRIVIAL, "automl-lite")
    for task in EMBEDDED
]


@pytest.mark.parametrize(("agent", "task"), EVERYWHERE)
async def test_a_submission_is_graded(agent: str, task: str, tmp_path: Path) -> None:
    config = EpisodeConfig(task=task, agent=agent, sandbox="docker", out=str(tmp_path))

    result = await run_episode(Plan(config=config))

    assert (result.status, result.submissions, result.refusals) == ("finished", 1, 0)
    assert result.errors == {}
    assert result.position_public is not None
    assert result.position_private is not None
    if agent == "automl-lite":
        assert min(result.position_public, result.position_private) >= HALF
    else:
        assert max(result.position_public, result.position_private) <= NEAR_BOTTOM
