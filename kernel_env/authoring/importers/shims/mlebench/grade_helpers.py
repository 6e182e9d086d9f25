"""Export the exception with which a grader rejects a submission."""

from kernel_env.authoring.importers.external_code import InvalidSubmissionError

__all__ = ["InvalidSubmissionError"]
