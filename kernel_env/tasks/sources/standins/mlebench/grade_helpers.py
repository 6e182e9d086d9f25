"""How a grader refuses a submission."""

from kernel_env.tasks.sources.foreign import InvalidSubmissionError

__all__ = ["InvalidSubmissionError"]
