"""Define regressions of censored times, and two proportional-hazards models.

The concordance index scores an order, so that a regression of any number that is larger the longer
a row lives fits. Times are written with a sign, as XGBoost's `survival:cox` takes them: negative if
the row is censored then. Plain entries fit the logarithm of the time and ignore which rows are
censored. Some of them, as NAME-residual, and the skilled entries fit minus the martingale residual
of a model without features: the events that are expected by a row's time, less its own event
(LeBlanc & Crowley, Relative risk trees for censored survival data, Biometrics 48, 1992).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from xgboost import XGBRegressor

from .tabular_columns import Model, one_hot
from .tabular_regression import BOTH_TARGETS, PLAIN, SKILLED, xgboost

SMALLEST_TIME = 1e-9
"""What a time of 0 is written as, so that it has a sign."""


def signed_times(time: pd.Series, event: pd.Series) -> pd.Series:
    """Return times that are negative if the row is censored then, shape (rows,)."""
    return time.astype(float).clip(lower=SMALLEST_TIME).where(event == 1, lambda t: -t)


def log_times(signed: np.ndarray) -> np.ndarray:
    """Return log(1 + time), of the shape of the argument."""
    return np.asarray(np.log1p(np.abs(signed)))


def survival_residuals(signed: np.ndarray) -> np.ndarray:
    """Return the events expected by a row's time, less its own, of the shape of the argument.

    The expected events are the cumulated hazard of all rows (Nelson-Aalen).
    """
    rows = pd.DataFrame({"time": np.abs(signed).ravel(), "event": signed.ravel() > 0})
    of_time = rows.groupby("time")["event"].agg(["sum", "size"])
    at_risk = of_time["size"][::-1].cumsum()[::-1]
    expected = rows["time"].map((of_time["sum"] / at_risk).cumsum())
    return (expected - rows["event"]).to_numpy().reshape(signed.shape)


def unchanged(values: np.ndarray) -> np.ndarray:
    """Return predictions as they are: only their order counts."""
    return values


def fit_to(
    quantity: Callable[[np.ndarray], np.ndarray], build: Callable[[int], Model], seed: int
) -> Model:
    """Build a model that fits a quantity computed from the signed times."""
    return TransformedTargetRegressor(
        build(seed), func=quantity, inverse_func=unchanged, check_inverse=False
    )


def cox(model: Model) -> Model:
    """Fit hazards; the prediction is larger the smaller the hazard is."""
    return TransformedTargetRegressor(
        model, func=unchanged, inverse_func=np.negative, check_inverse=False
    )


PROPORTIONAL_HAZARDS: dict[str, Callable[[int], Model]] = {
    "linear-cox": lambda seed: cox(
        make_pipeline(
            one_hot(),
            XGBRegressor(
                objective="survival:cox",
                booster="gblinear",
                updater="coord_descent",
                feature_selector="cyclic",
                n_estimators=100,
                reg_lambda=0.01,
                random_state=seed,
                nthread=1,
            ),
        )
    ),
    "xgboost-cox": lambda seed: cox(
        xgboost(
            seed,
            objective="survival:cox",
            n_estimators=200,
            learning_rate=0.04,
            max_depth=3,
            subsample=0.8,
            colsample_bytree=0.6,
        )
    ),
}
"""Models of the hazard itself, which use each censored row for as long as it was observed."""


def pool() -> dict[str, Callable[[int], Model]]:
    """Return the entries, in the order in which they run."""
    return {
        **{name: partial(fit_to, log_times, build) for name, build in PLAIN.items()},
        **{
            f"{name}-residual": partial(fit_to, survival_residuals, PLAIN[name])
            for name in BOTH_TARGETS
        },
        **{name: partial(fit_to, survival_residuals, build) for name, build in SKILLED.items()},
        **PROPORTIONAL_HAZARDS,
    }
