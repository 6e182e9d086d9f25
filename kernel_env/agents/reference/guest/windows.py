"""Turn windows of sensors' samples into statistics and spectra, and name models for them.

A row holds the samples of some channels, in columns such as `ax_00` … `ax_99`.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from .problem import Candidate, Problem, random_rows
from .tables import Tables

MIN_SAMPLES = 8
MAX_ROWS = 10_000
"""The most training rows that a model is fitted on; of more, random ones."""
FREQUENCIES = 12
"""The lowest frequencies of the spectrum that are features."""


def read_windows(table: pd.DataFrame) -> np.ndarray:
    """Return the samples, shape (rows, channels, samples).

    Raises:
        ValueError: there are no channels, or some have more samples than others.
    """
    channels: dict[str, list[tuple[int, str]]] = {}
    for name in map(str, table):
        if found := re.fullmatch(r"(.+?)_?(\d+)", name):
            channels.setdefault(found[1], []).append((int(found[2]), name))
    counts = {len(samples) for samples in channels.values()}
    if len(counts) != 1 or counts.pop() < MIN_SAMPLES:
        raise ValueError("no columns such as ax_00, ax_01 … with equally many for each channel")
    ordered = [[name for _, name in sorted(samples)] for samples in channels.values()]
    print(f"windows: {len(ordered)} channels ({', '.join(channels)}) of {len(ordered[0])} samples")
    return np.stack([table[names].to_numpy(dtype=float) for names in ordered], axis=1)


def statistics(windows: np.ndarray) -> np.ndarray:
    """Return means, spreads, extremes, quantiles, step sizes and correlations of the channels."""
    steps = np.abs(np.diff(windows, axis=2))
    centred = windows - windows.mean(axis=2, keepdims=True)
    quantiles = np.quantile(windows, [0.1, 0.25, 0.5, 0.75, 0.9], axis=2)
    scaled = centred / (np.linalg.norm(centred, axis=2, keepdims=True) + 1e-9)
    first, second = np.triu_indices(windows.shape[1], 1)
    return np.hstack(
        [
            windows.mean(axis=2),
            windows.std(axis=2),
            windows.min(axis=2),
            windows.max(axis=2),
            *quantiles,
            steps.mean(axis=2),
            scipy.stats.skew(windows, axis=2),
            (np.diff(np.sign(centred), axis=2) != 0).mean(axis=2),
            (scaled @ scaled.transpose(0, 2, 1))[:, first, second],
        ]
    )


def spectra(windows: np.ndarray) -> np.ndarray:
    """Return the logarithm of the power at the lowest frequencies of each channel."""
    centred = windows - windows.mean(axis=2, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(windows.shape[2]), axis=2)) ** 2
    return np.log(power[:, :, 1 : FREQUENCIES + 1] + 1e-3).reshape(len(windows), -1)


def windows_candidates(tables: Tables, problem: Problem) -> dict[str, Candidate]:
    """Return trees, support vectors and linear models of the windows' features."""
    names = [name for name in tables.test if name in tables.train and name not in tables.ids]
    both = pd.concat([tables.train[names], tables.test[names]], ignore_index=True)
    windows = np.nan_to_num(read_windows(both))
    simple = np.nan_to_num(statistics(windows))
    others = [name for name in names if not re.fullmatch(r".+?_?\d+", str(name))]
    if others:
        simple = np.hstack([simple, pd.get_dummies(both[others]).to_numpy(dtype=float)])
    everything = np.hstack([simple, spectra(windows)])
    seed, models = problem.seed, {}
    kinds: dict[str, tuple[np.ndarray, Any]]
    if problem.classes is None:
        kinds = {
            "trees": (everything, ExtraTreesRegressor(200, min_samples_leaf=2, random_state=seed)),
            "support vectors": (simple, SVR(C=3)),
            "linear": (simple, Ridge(alpha=10)),
        }
    else:
        machine = CalibratedClassifierCV(SVC(C=3), ensemble=False, cv=3)
        analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        kinds = {
            "trees": (everything, ExtraTreesClassifier(400, min_samples_leaf=2, random_state=seed)),
            "support vectors": (simple, machine),
            "linear": (simple, LogisticRegression(C=0.1, max_iter=500)),
            "discriminant analysis": (simple, analysis),
        }
    count = len(tables.train)
    rows = random_rows(count, MAX_ROWS, seed)
    for name, (features, model) in kinds.items():
        pipeline = make_pipeline(StandardScaler(), model)
        models[name] = Candidate(
            model=pipeline, train=features[:count], test=features[count:], rows=rows
        )
    return models
