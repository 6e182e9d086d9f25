"""The progress of an episode follows from its steps."""

import pytest
from hypothesis import HealthCheck, given, settings

from kernel_env.episode.step import Graded, Progress
from kernel_env.episode.trajectory import Trajectory
from support.trajectories import trajectories


@given(trajectories())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_progress_is_the_sum_of_the_steps(trajectory: Trajectory) -> None:
    progress = Progress(higher_is_better=False)
    for step in trajectory.steps:
        progress = progress.after(step)

    own = [step for step in trajectory.steps if step.actor == "agent"]
    scores = [
        step.submission.grade.public_score for step in own if isinstance(step.submission, Graded)
    ]
    best = progress.best.grade.public_score if progress.best else None
    assert progress.steps == len(own)
    assert progress.human_steps == len(trajectory.steps) - len(own)
    assert progress.submissions == len(scores)
    assert best == min(scores, default=None)
    assert progress.total_reward == pytest.approx(sum(step.reward for step in own))
