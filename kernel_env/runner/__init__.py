"""Run agents on tasks (`one`), and the reference pipelines of a leaderboard (`population`)."""

from kernel_env.runner.job import Plan, run_episode

__all__ = ["Plan", "run_episode"]
