"""Fit the chosen models on all training rows and submit their predictions."""

import os
from collections.abc import Mapping

import numpy as np

from .models import Choice, fit_predict
from .problem import Candidate, Problem
from .tables import Tables


def predict(problem: Problem, candidates: Mapping[str, Candidate], choice: Choice) -> np.ndarray:
    """Return a submission's values: the average of the chosen models, fitted on all rows."""
    everything = np.arange(len(problem.y))
    parts = [
        fit_predict(problem, candidates[name], everything, candidates[name].test)
        for name in choice.names
    ]
    return problem.finish(np.mean(parts, axis=0), choice.power)


def submit(tables: Tables, values: Mapping[str, np.ndarray]) -> None:
    """Write the values of each target in the format of the sample submission."""
    submission = tables.sample[tables.ids].assign(**values)[list(tables.sample)]
    submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
    print(submission.head())
