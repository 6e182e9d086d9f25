"""Thirty-seven forecasts of rising skill, and three more where the metric compares logarithms.

Some only look back: the last value, last week's, the mean of each hour of the week. The
others fit a model to the calendar, to what else is known of a row, or to both. Where the
metric compares logarithms, the plain models fit the target itself and the skilled ones its
logarithm; nothing below 0 is handed in then. Where it is the mean absolute error, the
skilled boostings minimise that.

A table has one series, or several told apart by a column of text (car parks, for one); a
linear model is then fitted to each series, and trees get the series as a category.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from .pool import SAME_TREES

Model = Any
"""Whatever has scikit-learn's `fit` and `predict`; these libraries carry no types."""
Frame = pd.DataFrame

SERIES = "series"
SLOT, WEEKDAY, WEEKEND, WEEK_SLOT, MONTH = "slot", "weekday", "weekend", "week-slot", "month"
YEARDAY, TREND = "day-of-year", "trend"
PARTS = (SLOT, WEEKDAY, WEEK_SLOT, MONTH)
"""Of the calendar, which a straight line cannot take as amounts."""
CALENDAR = (SLOT, WEEKDAY, YEARDAY)
MOST_CATEGORIES = 60
"""A column of text with more is left out."""
RARE = 0.05
"""A column of text that is filled less often holds remarks, such as the names of holidays."""
NEAR = pd.Timedelta(minutes=31)
"""Two moments of the day that count as the same."""
LARGEST_LOG = 50.0
"""A straight line in logarithms may run far off; exp of this is still a number."""
HALF_LIFE = 0.15
"""Share of the training time after which a row counts half, for models that forget."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A task's public data, ready for a model."""

    train: Frame
    """Features: calendar, waves, and the columns of the task but for the moment."""
    test: Frame
    target: "pd.Series[float]"
    known: tuple[str, ...]
    """Names of the task's own columns, as features."""
    remarks: tuple[str, ...]
    """Those of them that are rare words, spread over their day."""
    waves: tuple[str, ...]
    """Sines and cosines of the day, the week and the year."""
    metric: str
    seed: int

    @property
    def logarithmic(self) -> bool:
        """Whether the metric compares logarithms."""
        return self.metric == "rmsle"

    @property
    def values(self) -> "pd.Series[float]":
        """The target, or its logarithm where the metric compares logarithms."""
        return pd.Series(np.log1p(self.target)) if self.logarithmic else self.target


# ---- reading ----------------------------------------------------------------------------


def read(train: Frame, test: Frame, request: Mapping[str, Any]) -> Forecast:
    """Find the moment and the series, and make the features of both tables alike."""
    target = request["target"]
    columns = [name for name in test if name != request["id"]]
    both = pd.concat([train[columns], test[columns]], ignore_index=True)
    texts = [str(name) for name in both if not pd.api.types.is_numeric_dtype(both[name])]
    moment = next((name for name in texts if is_moment(both[name])), None)
    if moment is None:
        raise SystemExit(f"none of the columns {columns} holds moments; a forecast needs one")
    texts.remove(moment)
    time = pd.to_datetime(both[moment])
    series = which_series(both, moment, texts)
    features = calendar(time, len(train))
    features[SERIES] = series
    circles = waves(time)
    features = features.join(circles)
    known, remarks = [], []
    for name in both.columns.drop([moment, series.name], errors="ignore"):
        if name in texts:
            if both[name].nunique() > MOST_CATEGORIES:
                continue
            if both[name].notna().mean() < RARE:
                remarks.append(f"{name}-all-day")
                all_day = both[name].groupby(time.dt.normalize()).transform("first")
                features[remarks[-1]] = all_day.astype("category")
            features[name] = both[name].astype("category")
        else:
            features[name] = both[name].astype(float)
        known.append(str(name))
    return Forecast(
        train=features.iloc[: len(train)],
        test=features.iloc[len(train) :].reset_index(drop=True),
        target=train[target].astype(float),
        known=tuple(known),
        remarks=tuple(remarks),
        waves=tuple(map(str, circles)),
        metric=request["metric"],
        seed=request["seed"],
    )


def is_moment(column: "pd.Series[str]") -> bool:
    """Whether a column of text holds dates, and nothing else."""
    return bool(column.str.match(r"\d{4}-\d{2}-\d{2}").eq(True).all())


def which_series(both: Frame, moment: str, texts: Sequence[str]) -> "pd.Series[Any]":
    """The column of text that tells rows of the same moment apart; all one series without it."""
    if both[moment].duplicated().any():
        for name in texts:
            if not both.duplicated([moment, name]).any():
                return both[name].astype("category")
    return pd.Series("all", index=both.index, dtype="category")


def calendar(time: "pd.Series[pd.Timestamp]", rows: int) -> Frame:
    """When a row was: half hour of the day, day of the week and of the year, days since 0."""
    nearest = time.dt.round("30min")
    slot = nearest.dt.hour * 2 + nearest.dt.minute // 30
    weekday = time.dt.day_of_week
    return pd.DataFrame(
        {
            "moment": time,
            SLOT: slot.astype(float),
            WEEKDAY: weekday.astype(float),
            MONTH: time.dt.month.astype(float),
            YEARDAY: time.dt.day_of_year.astype(float),
            TREND: (time - time.iloc[:rows].max()).dt.total_seconds() / 86400,
            WEEKEND: (weekday >= 5).astype(float),
            WEEK_SLOT: weekday * 48.0 + slot,
        }
    )


def waves(time: "pd.Series[pd.Timestamp]") -> Frame:
    """Fourier terms: of the day, the same on weekends alone, of the week, of the year."""
    day = (time - time.dt.normalize()).dt.total_seconds() / 86400
    weekend = (time.dt.day_of_week >= 5).astype(float)
    week = (time.dt.day_of_week + day) / 7
    year = time.dt.day_of_year / 365.25
    made: dict[str, pd.Series[float]] = {"waves-weekend": weekend}
    for name, phase, most in (("day", day, 6), ("week", week, 3), ("year", year, 2)):
        for k in range(1, most + 1):
            for kind, wave in (("sin", np.sin), ("cos", np.cos)):
                made[f"{kind}-{name}-{k}"] = pd.Series(wave(2 * np.pi * k * phase))
                if name == "day":
                    made[f"{kind}-{name}-{k}-weekend"] = made[f"{kind}-{name}-{k}"] * weekend
    return pd.DataFrame(made)


# ---- looking back -----------------------------------------------------------------------


def profile(
    data: Forecast, keys: Sequence[str], *, days: float = np.inf, half_life: float = np.inf
) -> np.ndarray:
    """Each series' typical value for such a moment, of the last days, or of all.

    Typical is the median under the mean absolute error, otherwise the mean; the mean of
    logarithms where those count; with a half-life always a mean, recent days weighing more.
    A moment that was not seen gets what is typical with one key less.
    """
    age = -data.train[TREND]
    recent = age <= max(days, age.min())
    values = data.values[recent]
    said = pd.Series(np.nan, index=data.test.index)
    for count in range(len(keys), -1, -1):
        names = [SERIES, *keys[:count]]
        groups = [data.train.loc[recent, name] for name in names]
        if np.isfinite(half_life):
            weight = 0.5 ** (age[recent] / half_life)
            sums = (values * weight).groupby(groups, observed=True).sum()
            typical = sums / weight.groupby(groups, observed=True).sum()
        else:
            grouped = values.groupby(groups, observed=True)
            typical = grouped.median() if data.metric == "mae" else grouped.mean()
        found = data.test[names].join(typical.rename("typical"), on=names)["typical"]
        said = said.fillna(found)
    said = said.fillna(values.median())
    back = said.to_numpy()
    return np.expm1(back) if data.logarithmic else back


def seasonal(data: Forecast, days: int) -> np.ndarray:
    """What was so many days before, or twice as many, the first time that was in training.

    Where nothing was within half an hour of that moment: what is typical of the hour.
    """
    last = data.train["moment"].max()
    back = np.ceil((data.test["moment"] - last) / pd.Timedelta(days=days)).clip(lower=1)
    wanted = pd.DataFrame(
        {
            "moment": data.test["moment"] - back * pd.Timedelta(days=days),
            SERIES: data.test[SERIES],
            "row": data.test.index,
        }
    ).sort_values("moment")
    seen = data.train[["moment", SERIES]].assign(value=data.target).sort_values("moment")
    found = pd.merge_asof(wanted, seen, on="moment", by=SERIES, direction="nearest", tolerance=NEAR)
    said = found.set_index("row")["value"].sort_index().to_numpy()
    return np.where(np.isnan(said), profile(data, [SLOT, WEEKDAY]), said)


def last_value(data: Forecast) -> np.ndarray:
    """Each series' last value, for ever."""
    last = data.target.groupby(data.train[SERIES], observed=True).last()
    return data.test[SERIES].map(last).astype(float).to_numpy()


def last_year_scaled(data: Forecast) -> np.ndarray:
    """The week a year before, times how much these two months differ from those of last year."""
    age = -data.train[TREND]
    series = data.train[SERIES]
    now = data.target[age < 56].groupby(series, observed=True).mean()
    then = data.target[(age >= 364) & (age < 420)].groupby(series, observed=True).mean()
    growth = (now / then).reindex(series.cat.categories).fillna(1.0)
    year_ago = seasonal(data, 364)
    return year_ago * data.test[SERIES].map(growth).astype(float).to_numpy()


def shifted_profile(data: Forecast, days: float) -> np.ndarray:
    """The profile of all training days, moved to where each series was in the last days."""
    keys = [SLOT, WEEKDAY]
    age = -data.train[TREND]
    usual = data.values.groupby(
        [data.train[name] for name in (SERIES, *keys)], observed=True
    ).transform("mean")
    recent = age <= days
    off = (data.values - usual)[recent].groupby(data.train[SERIES], observed=True).mean()
    moved = data.test[SERIES].map(off).astype(float).fillna(0).to_numpy()
    said = profile(data, keys)
    return np.expm1(np.log1p(said) + moved) if data.logarithmic else said + moved


# ---- models -----------------------------------------------------------------------------


class PerSeries(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A model of its own for each series."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def fit(self, rows: Frame, target: np.ndarray) -> "PerSeries":
        """Fit one model for each series that has rows."""
        self.models_ = {
            name: clone(self.model).fit(rows.iloc[places], target[places])
            for name, places in rows.groupby(SERIES, observed=True).indices.items()
        }
        return self

    def predict(self, rows: Frame) -> np.ndarray:
        """Ask each row's own model."""
        said = np.empty(len(rows))
        for name, places in rows.groupby(SERIES, observed=True).indices.items():
            said[places] = self.models_[name].predict(rows.iloc[places])
        return said


def coded(rows: Frame) -> np.ndarray:
    """Categories as numbers and missing values as -1, for trees that know neither."""
    columns = {
        name: column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
        for name, column in rows.items()
    }
    return pd.DataFrame(columns).fillna(-1).to_numpy(dtype=float)


def codes() -> Model:
    """`coded`, as a step."""
    return FunctionTransformer(coded)


def words(rows: Frame) -> list[str]:
    """Names of the columns that hold categories, but for the series."""
    return [str(name) for name in rows.select_dtypes("category") if name != SERIES]


def numbers(rows: Frame) -> list[str]:
    """Names of the columns that hold amounts."""
    return [str(name) for name in rows.select_dtypes("number") if name not in PARTS]


def parts(rows: Frame) -> list[str]:
    """Names of the columns that hold parts of the calendar, each value of its own kind."""
    return [str(name) for name in rows if name in PARTS]


def straight() -> Model:
    """Amounts standardised; a column of 0 and 1 for each category and part of the calendar."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), parts),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20, sparse_output=False), words),
    )


def linear() -> Model:
    """Least squares for each series, hardly penalised."""
    return PerSeries(make_pipeline(straight(), Ridge(alpha=1.0)))


def neighbours(count: int) -> Model:
    """The nearest rows of each series."""
    return PerSeries(make_pipeline(straight(), KNeighborsRegressor(count)))


def forest(seed: int) -> Model:
    """Trees on a part of the rows each, which is quicker and loses little."""
    return make_pipeline(
        codes(),
        RandomForestRegressor(
            50, max_samples=0.4, min_samples_leaf=2, max_features=0.6, random_state=seed
        ),
    )


def extra_trees(seed: int) -> Model:
    """Trees with random cuts."""
    return make_pipeline(
        codes(),
        ExtraTreesRegressor(50, min_samples_leaf=3, max_features=0.8, random_state=seed),
    )


def neural_network(seed: int) -> Model:
    """One hidden layer; it wants its target standardised."""
    network = MLPRegressor(
        hidden_layer_sizes=(64,),
        batch_size=512,
        learning_rate_init=3e-3,
        early_stopping=True,
        max_iter=12,
        n_iter_no_change=4,
        random_state=seed,
    )
    columns = make_column_transformer(
        (straight(), lambda rows: [name for name in rows if name != SERIES]),
        (OneHotEncoder(sparse_output=False), lambda rows: [SERIES] if SERIES in rows else []),
    )
    return TransformedTargetRegressor(make_pipeline(columns, network), transformer=StandardScaler())


def histogram_boosting(seed: int, **settings: Any) -> Model:
    """scikit-learn's own boosting of histograms."""
    return HistGradientBoostingRegressor(
        random_state=seed, categorical_features="from_dtype", **settings
    )


def xgboost(seed: int, **settings: Any) -> Model:
    """XGBoost on one thread."""
    return XGBRegressor(random_state=seed, nthread=1, enable_categorical=True, **settings)


def lightgbm(seed: int, **settings: Any) -> Model:
    """LightGBM as it must be set to give the same trees each time."""
    return LGBMRegressor(random_state=seed, **SAME_TREES, **settings)


def tuned_lightgbm(data: Forecast) -> Model:
    """More and smaller steps, each on some of the columns and rows."""
    return lightgbm(
        data.seed,
        n_estimators=500,
        learning_rate=0.04,
        num_leaves=31,
        min_child_samples=30,
        colsample_bytree=0.6,
        subsample=0.7,
        subsample_freq=1,
        reg_lambda=1.0,
        objective="l1" if data.metric == "mae" else "l2",
    )


def tuned_xgboost(data: Forecast) -> Model:
    """The same idea in XGBoost."""
    return xgboost(
        data.seed,
        n_estimators=400,
        learning_rate=0.05,
        max_depth=6,
        min_child_weight=10,
        colsample_bytree=0.6,
        subsample=0.7,
        objective="reg:absoluteerror" if data.metric == "mae" else "reg:squarederror",
    )


def tuned_histogram_boosting(data: Forecast) -> Model:
    """scikit-learn's own, with more and smaller steps."""
    return histogram_boosting(
        data.seed,
        max_iter=300,
        learning_rate=0.06,
        min_samples_leaf=30,
        max_features=0.6,
        loss="absolute_error" if data.metric == "mae" else "squared_error",
    )


def fitted(
    data: Forecast,
    model: Model,
    columns: Sequence[str],
    *,
    logarithm: bool = False,
    days: float = np.inf,
    forget: bool = False,
) -> np.ndarray:
    """Fit a model to some columns, and what it says of the test rows.

    Args:
        columns: features; the series goes with them where there are several.
        logarithm: fit log(1 + y), where the metric compares logarithms.
        days: only rows of so many last days.
        forget: recent rows weigh more.
    """
    names = list(dict.fromkeys(columns))
    if data.train[SERIES].nunique() > 1 or isinstance(model, PerSeries):
        names = [*dict.fromkeys([SERIES, *names])]
    age = -data.train[TREND]
    rows = (age <= days).to_numpy()
    if logarithm and data.logarithmic:
        model = TransformedTargetRegressor(
            model, func=np.log1p, inverse_func=exponential, check_inverse=False
        )
    weight = {"sample_weight": 0.5 ** (age / (HALF_LIFE * age.max()))[rows]} if forget else {}
    target = data.target.to_numpy()[rows]
    return np.asarray(
        model.fit(data.train.loc[rows, names], target, **weight).predict(data.test[names])
    )


def exponential(logarithm: np.ndarray) -> np.ndarray:
    """The way back, kept from infinity."""
    return np.asarray(np.expm1(np.minimum(logarithm, LARGEST_LOG)))


# ---- the pool ---------------------------------------------------------------------------


def entries(
    train: Frame, test: Frame, request: Mapping[str, Any]
) -> dict[str, Callable[[], np.ndarray]]:
    """Name of an entry → what makes its predictions. Run in this order, each once."""
    data = read(train, test, request)
    lowest = 0.0 if data.logarithmic else -np.inf
    made: dict[str, Callable[[], np.ndarray]] = {}
    for name, entry in pool(data).items():
        made[name] = functools.cache(
            functools.partial(lambda entry: np.maximum(entry(data), lowest), entry)
        )
    for name, members in BLENDS.items():
        made[name] = functools.partial(mean_of, [made[member] for member in members], data)
    return made


def mean_of(members: Sequence[Callable[[], np.ndarray]], data: Forecast) -> np.ndarray:
    """The mean of some entries, of their logarithms where the metric compares those."""
    said = np.stack([member() for member in members])
    if data.logarithmic:
        return np.asarray(np.expm1(np.log1p(said).mean(axis=0)))
    return np.asarray(said.mean(axis=0))


BLENDS = {
    "boosting-blend": ("lightgbm-tuned", "xgboost-tuned", "histogram-boosting-tuned"),
    "wide-blend": (
        "lightgbm-forgetting",
        "xgboost-tuned",
        "extra-trees",
        "linear-week-known",
        "week-profile-recent",
    ),
}
"""Name of an entry → those whose mean it is."""


def pool(data: Forecast) -> dict[str, Callable[[Forecast], np.ndarray]]:
    """The entries that make sense for a task."""
    when = (*CALENDAR, MONTH)
    dated = (SLOT, WEEKDAY, WEEKEND, YEARDAY, TREND)
    weekly = (WEEK_SLOT, MONTH, TREND)
    rows = len(data.test)
    all_known = (*dated, *data.known)
    best_known = (*dated, WEEK_SLOT, *data.known, *data.remarks)
    near = ("sin-day-1", "cos-day-1", "waves-weekend", "sin-week-1", "cos-week-1")
    nearby = (*near, "sin-year-1", "cos-year-1", TREND)
    third = -data.train[TREND].min() / 3
    seed = data.seed

    def plain(model: Callable[[], Model], columns: Sequence[str], **how: Any) -> Any:
        return lambda data: fitted(data, model(), columns, **how)

    def skilled(model: Callable[[Forecast], Model], **how: Any) -> Any:
        return lambda data: fitted(data, model(data), best_known, logarithm=True, **how)

    found: dict[str, Callable[[Forecast], np.ndarray]] = {
        # Hardly a model
        "mean": lambda data: np.full(rows, data.target.mean()),
        "median": lambda data: np.full(rows, data.target.median()),
        "last-value": last_value,
        # Looking back
        "last-week": lambda data: seasonal(data, 7),
        "last-year": lambda data: seasonal(data, 364),
        "last-year-scaled": last_year_scaled,
        "weekday-profile": lambda data: profile(data, [WEEKDAY]),
        "hour-profile": lambda data: profile(data, [SLOT]),
        "weekend-profile": lambda data: profile(data, [SLOT, WEEKEND]),
        "week-profile": lambda data: profile(data, [SLOT, WEEKDAY]),
        "week-profile-by-month": lambda data: profile(data, [SLOT, WEEKDAY, MONTH]),
        "week-profile-recent": lambda data: profile(data, [SLOT, WEEKDAY], days=28),
        "week-profile-forgetting": lambda data: profile(data, [SLOT, WEEKDAY], half_life=14),
        "week-profile-shifted": lambda data: shifted_profile(data, 28),
        # Straight lines
        "linear-calendar": plain(linear, [SLOT, WEEKDAY, MONTH]),
        "linear-week": plain(linear, weekly),
        "linear-week-known": plain(linear, (*weekly, *data.known)),
        "linear-waves-known": plain(linear, (*data.waves, TREND, *data.known)),
        # Neighbours and trees
        "neighbours-calendar": plain(lambda: neighbours(15), nearby[:-1]),
        "neighbours-known": plain(lambda: neighbours(15), (*nearby, *data.known)),
        "tree-calendar": plain(
            lambda: make_pipeline(
                codes(), DecisionTreeRegressor(min_samples_leaf=10, random_state=seed)
            ),
            when,
        ),
        "tree-known": plain(
            lambda: make_pipeline(
                codes(), DecisionTreeRegressor(min_samples_leaf=10, random_state=seed)
            ),
            all_known,
        ),
        "forest-calendar": plain(lambda: forest(seed), when),
        "forest-known": plain(lambda: forest(seed), all_known),
        # Boosting by default
        "lightgbm-calendar": plain(lambda: lightgbm(seed), when),
        "lightgbm": plain(lambda: lightgbm(seed), all_known),
        "xgboost": plain(lambda: xgboost(seed), all_known),
        "histogram-boosting": plain(lambda: histogram_boosting(seed), all_known),
    }
    if data.logarithmic:
        for name, model, columns in (
            ("linear-week-known", linear, (*weekly, *data.known)),
            ("forest-known", lambda: forest(seed), all_known),
            ("lightgbm", lambda: lightgbm(seed), all_known),
        ):
            found[f"{name}-log"] = plain(model, columns, logarithm=True)
    found |= {
        "neural-network": skilled(lambda data: neural_network(data.seed)),
        "extra-trees": skilled(lambda data: extra_trees(data.seed)),
        "lightgbm-recent": skilled(tuned_lightgbm, days=third),
        "lightgbm-forgetting": skilled(tuned_lightgbm, forget=True),
        "lightgbm-tuned": skilled(tuned_lightgbm),
        "xgboost-tuned": skilled(tuned_xgboost),
        "histogram-boosting-tuned": skilled(tuned_histogram_boosting),
    }
    return found
