"""Define the base class of competition metrics and the exception that rejects a submission."""

from kernel_env.authoring.importers.external_code import InvalidSubmissionError

__all__ = ["CompetitionMetrics", "InvalidSubmissionError"]


class CompetitionMetrics:
    """A competition's metric; a subclass defines `evaluate` and `validate_submission`."""

    def __init__(self, higher_is_better: bool = True) -> None:
        self.higher_is_better = higher_is_better
