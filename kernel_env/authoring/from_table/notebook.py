"""Create the solution.ipynb of a new task: a simple first solution to extend."""

from typing import Literal

import nbformat

from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.pages import json_text, quoted, title

Form = Literal["table", "text", "files", "pixels", "windows"]
"""What the features of a row are."""

SCORING = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1_macro",
    "weighted_f1": "f1_weighted",
    "matthews": "matthews_corrcoef",
    "f1": "f1",
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
    "log_loss": "neg_log_loss",
    "brier": "neg_brier_score",
    "rmse": "neg_root_mean_squared_error",
    "rmsle": "neg_root_mean_squared_log_error",
    "mae": "neg_mean_absolute_error",
    "median_ae": "neg_median_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "r2": "r2",
}
"""scikit-learn's scorer for each metric; for a scorer, greater is always better."""


def solution(design: Design) -> nbformat.NotebookNode:
    """Return a notebook with a simple first solution."""
    v4 = nbformat.v4
    summary = "describe" if design.kind == "regression" else "value_counts"
    shown = f"train[{'TARGETS' if len(design.targets) > 1 else 'TARGET'}].{summary}()"
    if design.event:
        shown = "train.groupby(EVENT)[TARGET].describe()"
    cells = [
        v4.new_markdown_cell(
            f"# {title(design)}\n\nA first solution: read, explore, fit a model, submit."
        ),
        v4.new_code_cell(read_cell(design)),
        v4.new_markdown_cell("The distribution of the target, and the share of missing values."),
        v4.new_code_cell(shown),
        v4.new_code_cell("train.isna().mean().sort_values(ascending=False).head()"),
        v4.new_markdown_cell(ABOUT_FEATURES[form(design)]),
        v4.new_code_cell(features(design)),
        v4.new_markdown_cell(
            "Cross-validation with five folds estimates the score before you submit."
        ),
        v4.new_code_cell(model(design)),
        v4.new_markdown_cell("Fit the model on all training rows and write the submission."),
        v4.new_code_cell(submit(design) if len(design.targets) == 1 else submit_all(design)),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook: nbformat.NotebookNode = v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    return notebook


def read_cell(design: Design) -> str:
    """Return the cell that reads the tables; what pandas would change is read as text."""
    several = len(design.targets) > 1
    texts = ", ".join(
        f"{quoted(name) if several else 'ID' if name == design.id else 'TARGET'}: str"
        for name in design.as_text
    )
    target = quoted(design.target)
    names = f"ID, TARGET = {quoted(design.id)}, {target}"
    if several:
        names = f"ID, TARGETS = {quoted(design.id)}, {json_text(design.targets)}"
    if design.extra:
        names += f"\n{design.metric.extra.upper()} = {quoted(design.extra)}"
    options = f', dtype={{{texts}}}, keep_default_na=False, na_values=[""]' if texts else ""
    return f"""\
import os
from pathlib import Path

import numpy as np
import pandas as pd

{names}
data = Path(os.environ["DATA_PATH"])
train = pd.read_csv(data / "train.csv"{options})
test = pd.read_csv(data / "test.csv"{options})
train.head()"""


def form(design: Design) -> Form:
    """Return what the features of a row are."""
    if design.has_files:
        return "files"
    if design.domain == "vision":
        return "pixels"
    if design.domain == "time series" and design.kind != "regression":
        return "windows"
    return "text" if design.domain == "language" else "table"


ABOUT_FEATURES: dict[Form, str] = {
    "table": "Text columns and parts of dates become categories, the same ones in the training and"
    " test sets; rare values become missing. Gradient boosting handles categories and missing"
    " values; the two other models get them as columns of 0 and 1.",
    "text": "The model counts words and pairs of words, and short runs of characters, so the texts"
    " themselves are its input.",
    "files": "Each picture becomes a thumbnail, and its pixels are the features.",
    "pixels": "The pixels are the features.",
    "windows": "Beside its samples, each window has their steps, their spectrum and a few"
    " statistics.",
}
"""What the notebook says about the features."""
WINDOWS = """\
samples = [name for name in test if name.rpartition("_")[2].isdigit()]
channels = list(dict.fromkeys(name.rpartition("_")[0] for name in samples))


def describe(table):
    parts = [table.drop(columns=[ID, TARGET, *samples], errors="ignore").select_dtypes("number")]
    for channel in channels:
        names = [name for name in samples if name.rpartition("_")[0] == channel]
        signal = table[names].interpolate(axis=1, limit_direction="both").fillna(0).to_numpy(float)
        centred = signal - signal.mean(axis=1, keepdims=True)
        steps = np.diff(signal)
        parts += [signal, steps, np.abs(np.fft.rfft(centred)), signal.mean(axis=1)[:, None]]
        parts += [centred.std(axis=1)[:, None], np.abs(steps).mean(axis=1)[:, None]]
    return np.nan_to_num(np.hstack(parts))


X, X_test, y = describe(train), describe(test), train[TARGET]"""
THUMBNAILS = """\
from PIL import Image


def thumbnails(table):
    pictures = [Image.open(data / name).convert("RGB").resize((16, 16)) for name in table["file"]]
    return np.stack([np.asarray(picture).ravel() / 255 for picture in pictures])


X, X_test, y = thumbnails(train), thumbnails(test), train[TARGET]"""


RESIDUALS = """

# What the model fits: the events expected by the time of a row, less its own event. This is larger
# the longer the row lived, and uses a censored row for as long as it was observed.
of_time = train.groupby(TARGET)[EVENT].agg(["sum", "size"])
at_risk = of_time["size"][::-1].cumsum()[::-1]
y = train[TARGET].map((of_time["sum"] / at_risk).cumsum()) - train[EVENT]"""
ORDER_SCORES = {
    "event": """\
rows = np.random.RandomState(0).permutation(len(train))[:3000]
time, event, said = train[TARGET].to_numpy()[rows], train[EVENT].to_numpy()[rows], held_out[rows]
earlier = (event == 1)[:, None] & (time[:, None] < time)
smaller, at_most = (said[:, None] < said)[earlier].mean(), (said[:, None] <= said)[earlier].mean()
(smaller + at_most) / 2  # the concordance index""",
    "query": """\
queries = [rows for rows in train.groupby(QUERY).indices.values() if y.iloc[rows].nunique() > 1]
np.mean([ndcg_score([y.iloc[rows]], [held_out[rows]], k={k}) for rows in queries])""",
}
"""How the notebook scores predictions of the training rows, by what the metric reads beside the
target."""


def features(design: Design) -> str:
    """Return the cell that converts the tables to features, and says what the model fits."""
    found = features_of(design)
    if design.extra:
        also = design.metric.extra.upper()
        found = found.replace("[ID, TARGET", f"[ID, TARGET, {also}")
    return found + RESIDUALS if design.event else found


def features_of(design: Design) -> str:
    """Return the code that converts the tables to features."""
    match form(design):
        case "files":
            return THUMBNAILS
        case "pixels":
            return (
                "X, X_test = (\n"
                '    table.drop(columns=[ID, TARGET], errors="ignore").to_numpy(float) / 255\n'
                "    for table in (train, test)\n"
                ")\n"
                "y = train[TARGET]"
            )
        case "windows":
            return WINDOWS
        case "text":
            column = quoted(design.columns[0].name)
            return (
                f'X, X_test, y = train[{column}].fillna(""), test[{column}].fillna(""),'
                " train[TARGET]"
            )
    time_features = ""
    time_columns = [c.name for c in design.columns if c.summary.startswith("timestamp")]
    for name in time_columns:
        time_features += f"""\
time = pd.to_datetime(both.pop({quoted(name)}), format="ISO8601", utc=True)
both[{quoted(name + " year")}] = time.dt.year
for unit in ("month", "dayofweek", "hour"):
    both[{quoted(name + " ")} + unit] = getattr(time.dt, unit).astype(str)
"""
    several = len(design.targets) > 1
    targets = "*TARGETS" if several else "TARGET"
    y = "" if several else "\ny = train[TARGET]"
    return f"""\
both = pd.concat([train, test], ignore_index=True).drop(columns=[ID, {targets}])
{time_features}for name in both.select_dtypes(exclude="number"):
    frequent = both[name].value_counts().index[:200]
    both[name] = both[name].where(both[name].isin(frequent)).astype("category")
X, X_test = both.iloc[: len(train)], both.iloc[len(train) :]{y}"""


def model(design: Design) -> str:
    """Return the cell that defines the model and cross-validates it."""
    match form(design):
        case "files" | "pixels" | "windows":
            imports = "from sklearn.ensemble import ExtraTreesClassifier"
            return fit_cell(design, imports, "ExtraTreesClassifier(500, random_state=0)")
        case "text":
            return fit_cell(design, *text_model(design))
    return fit_cell(design, *table_model(design))


SCALES = {
    "rmsle": "func=np.log1p,\n    inverse_func=lambda y: np.expm1(np.maximum(y, 0))",
    "mape": "func=np.arcsinh,\n    inverse_func=np.sinh",
}
"""The scale on which models fit a target whose relative errors count: a logarithm, or what is like
one and takes negative numbers too."""


def table_model(design: Design) -> tuple[str, str, str]:
    """Return a model of a table, the mean of three: imports, expression, and what comes before."""
    if design.kind == "regression":
        kind, linear = "Regressor", "RidgeCV(np.logspace(-2, 4, 13))"
        imported, options = "RidgeCV", ""
    else:
        kind, linear = "Classifier", "LogisticRegression(max_iter=2000)"
        imported, options = "LogisticRegression", ', voting="soft"'
    imports = f"""\
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTrees{kind}, HistGradientBoosting{kind}, Voting{kind}
from sklearn.impute import SimpleImputer
from sklearn.linear_model import {imported}
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler"""
    scale = SCALES.get(design.metric.name)
    if scale:
        imports = f"from sklearn.compose import TransformedTargetRegressor\n{imports}"
    estimator = f"""\
Voting{kind}(
    [
        (
            "boosting",
            HistGradientBoosting{kind}(
                learning_rate=0.05, categorical_features="from_dtype", random_state=0
            ),
        ),
        ("forest", make_pipeline(encode, ExtraTrees{kind}(300, random_state=0))),
        ("linear", make_pipeline(encode, {linear})),
    ]{options}
)"""
    if scale:
        inner = estimator.replace("\n", "\n    ")
        estimator = f"TransformedTargetRegressor(\n    {inner},\n    {scale},\n)"
    encode = """

numbers = make_pipeline(SimpleImputer(), StandardScaler())
categories = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
encode = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (categories, make_column_selector(dtype_include="category")),
)"""
    return imports, estimator, encode


def text_model(design: Design) -> tuple[str, str]:
    """Return the imports and the expression of a linear model of words and characters."""
    linear = "Ridge" if design.kind == "regression" else "LogisticRegression"
    options = "alpha=1.0" if design.kind == "regression" else "C=10, max_iter=1000"
    imports = (
        "from sklearn.feature_extraction.text import TfidfVectorizer\n"
        f"from sklearn.linear_model import {linear}\n"
        "from sklearn.pipeline import make_pipeline, make_union"
    )
    counts = """\
make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\\w+", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), max_features=200_000),
    )"""
    return imports, f"make_pipeline(\n    {counts},\n    {linear}({options}),\n)"


def fit_cell(design: Design, imports: str, estimator: str, before: str = "") -> str:
    """Return the cell that defines a model and cross-validates it."""
    scoring = SCORING.get(design.metric.name)
    argument = f', scoring="{scoring}"' if scoring else ""
    if len(design.targets) > 1:
        return f"""\
{imports}
from sklearn.model_selection import cross_val_score
{before}
model = {estimator}
{{
    target: cross_val_score(model, X, train[target], cv=5{argument}).mean() for target in TARGETS
}}"""
    if design.extra:
        folds, options = "", "cv=5"
        if not design.event:
            folds, options = ", GroupKFold", "groups=train[QUERY], cv=GroupKFold(5)"
            imports = f"from sklearn.metrics import ndcg_score\n{imports}"
        scored = ORDER_SCORES[design.metric.extra].format(k=design.metric.name.rpartition("@")[2])
        return f"""\
{imports}
from sklearn.model_selection import cross_val_predict{folds}
{before}
model = {estimator}
held_out = cross_val_predict(model, X, y, {options})
{scored}"""
    return f"""\
{imports}
from sklearn.model_selection import cross_val_score
{before}
model = {estimator}
scores = cross_val_score(model, X, y, cv=5{argument})
scores.mean(), scores.std()"""


def prediction(design: Design) -> str:
    """Return the method call that predicts what the metric wants."""
    wants_probability = design.kind == "binary classification" and design.metric.wants in (
        "number",
        "probability",
    )
    return "predict_proba(X_test)[:, 1]" if wants_probability else "predict(X_test)"


def submit(design: Design) -> str:
    """Return the cell that writes the submission."""
    return f"""\
submission = test[[ID]].assign(**{{TARGET: model.fit(X, y).{prediction(design)}}})
submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
submission.head()"""


def submit_all(design: Design) -> str:
    """Return the cell that writes the submission of several targets."""
    return f"""\
predictions = {{
    target: model.fit(X, train[target]).{prediction(design)} for target in TARGETS
}}
submission = test[[ID]].assign(**predictions)
submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
submission.head()"""
