
import pandas as pd
from mlebench.competitions.utils import aligned
from mlebench.grade_helpers import InvalidSubmissionError
from .constants import TARGET


def grade(submission: pd.DataFrame, answers: pd.DataFrame) -> float:
    if TARGET not in submission:
        raise InvalidSubmissionError(f"no column {TARGET}")
    true, said = aligned(submission, answers)
    return ((true - said) ** 2).mean() ** 0.5
