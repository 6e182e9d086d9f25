"""Run agents on tasks: one episode here, many of them in `local`."""

from kernel_env.runner.one import Plan, run_episode

__all__ = ["Plan", "run_episode"]
