"""The class that every metric of a competition extends, and how it refuses a submission."""

from kernel_env.authoring.importers.external_code import InvalidSubmissionError

__all__ = ["CompetitionMetrics", "InvalidSubmissionError"]


class CompetitionMetrics:
    """A competition's metric; `evaluate` and `validate_submission` come with the subclass."""

    def __init__(self, higher_is_better: bool = True) -> None:
        self.higher_is_better = higher_is_better
