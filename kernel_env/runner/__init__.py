"""Run agents on tasks: plans, prepared tasks, results and progress."""

from kernel_env.runner.batch import prepare_tasks, run_plans
from kernel_env.runner.job import Plan, make_agent, run_episode, with_seeds, with_trust

__all__ = [
    "Plan",
    "make_agent",
    "prepare_tasks",
    "run_episode",
    "run_plans",
    "with_seeds",
    "with_trust",
]
