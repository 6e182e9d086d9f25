"""Create the solution.ipynb of a new task: a simple first solution to extend."""

import nbformat

from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.pages import quoted, title

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
    cells = [
        v4.new_markdown_cell(
            f"# {title(design)}\n\nA first solution: read, explore, fit a model, submit."
        ),
        v4.new_code_cell(read_cell(design)),
        v4.new_markdown_cell("The distribution of the target, and the share of missing values."),
        v4.new_code_cell(f"train[TARGET].{summary}()"),
        v4.new_code_cell("train.isna().mean().sort_values(ascending=False).head()"),
        v4.new_markdown_cell(ABOUT_FEATURES[design.domain]),
        v4.new_code_cell(features(design)),
        v4.new_markdown_cell(
            "Cross-validation with five folds estimates the score before you submit."
        ),
        v4.new_code_cell(model(design)),
        v4.new_markdown_cell("Fit the model on all training rows and write the submission."),
        v4.new_code_cell(submit(design)),
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
    names = {design.id: "ID", design.target: "TARGET"}
    texts = ", ".join(f"{names[name]}: str" for name in design.as_text)
    options = f', dtype={{{texts}}}, keep_default_na=False, na_values=[""]' if texts else ""
    return f"""\
import os
from pathlib import Path

import numpy as np
import pandas as pd

ID, TARGET = {quoted(design.id)}, {quoted(design.target)}
data = Path(os.environ["DATA_PATH"])
train = pd.read_csv(data / "train.csv"{options})
test = pd.read_csv(data / "test.csv"{options})
train.head()"""


ABOUT_FEATURES = {
    "tabular": "Text columns become categories, the same ones in the training and test sets; rare"
    " values become missing. Gradient boosting handles categories and missing values.",
    "language": "The model counts words and pairs of words, so the texts themselves are its input.",
    "vision": "Each picture becomes a thumbnail, and its pixels are the features.",
}
"""What the notebook says about the features, by domain."""
THUMBNAILS = """\
from PIL import Image


def thumbnails(table):
    pictures = [Image.open(data / name).convert("RGB").resize((16, 16)) for name in table["file"]]
    return np.stack([np.asarray(picture).ravel() / 255 for picture in pictures])


X, X_test, y = thumbnails(train), thumbnails(test), train[TARGET]"""


def features(design: Design) -> str:
    """Return the cell that converts the tables to features."""
    if design.domain == "vision":
        return THUMBNAILS
    if design.domain == "language":
        column = quoted(design.columns[0].name)
        return (
            f'X, X_test, y = train[{column}].fillna(""), test[{column}].fillna(""), train[TARGET]'
        )
    time_features = ""
    time_columns = [c.name for c in design.columns if c.summary.startswith("timestamp")]
    for name in time_columns:
        time_features += f"""\
time = pd.to_datetime(both.pop({quoted(name)}), format="ISO8601", utc=True)
for unit in ("year", "month", "dayofweek", "hour"):
    both[{quoted(name + " ")} + unit] = getattr(time.dt, unit)
"""
    return f"""\
both = pd.concat([train, test], ignore_index=True).drop(columns=[ID, TARGET])
{time_features}for name in both.select_dtypes(exclude="number"):
    frequent = both[name].value_counts().index[:200]
    both[name] = both[name].where(both[name].isin(frequent)).astype("category")
X, X_test = both.iloc[: len(train)], both.iloc[len(train) :]
y = train[TARGET]"""


def model(design: Design) -> str:
    """Return the cell that defines the model and cross-validates it."""
    if design.domain != "tabular":
        return model_of_one_input(design)
    settings = 'categorical_features="from_dtype", random_state=0'
    if design.kind == "regression":
        estimator = f"HistGradientBoostingRegressor({settings})"
        imports = "from sklearn.ensemble import HistGradientBoostingRegressor"
        if design.metric.name == "rmsle":
            imports = "from sklearn.compose import TransformedTargetRegressor\n" + imports
            estimator = (
                f"TransformedTargetRegressor(\n    HistGradientBoostingRegressor({settings}),\n"
                "    func=np.log1p,\n    inverse_func=lambda y: np.expm1(np.maximum(y, 0)),\n)"
            )
    else:
        imports = "from sklearn.ensemble import HistGradientBoostingClassifier"
        estimator = f"HistGradientBoostingClassifier({settings})"
    return fit_cell(design, imports, estimator)


def model_of_one_input(design: Design) -> str:
    """Return the cell that defines a model of texts or pictures and cross-validates it."""
    linear = "Ridge" if design.kind == "regression" else "LogisticRegression"
    options = "alpha=1.0" if design.kind == "regression" else "C=10, max_iter=1000"
    if design.domain == "vision":
        imports = "from sklearn.ensemble import ExtraTreesClassifier"
        return fit_cell(design, imports, "ExtraTreesClassifier(300, random_state=0)")
    imports = (
        "from sklearn.feature_extraction.text import TfidfVectorizer\n"
        f"from sklearn.linear_model import {linear}\n"
        "from sklearn.pipeline import make_pipeline"
    )
    words = "TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)"
    return fit_cell(design, imports, f"make_pipeline({words}, {linear}({options}))")


def fit_cell(design: Design, imports: str, estimator: str) -> str:
    """Return the cell that defines a model and cross-validates it."""
    scoring = SCORING.get(design.metric.name)
    argument = f', scoring="{scoring}"' if scoring else ""
    return f"""\
{imports}
from sklearn.model_selection import cross_val_score

model = {estimator}
scores = cross_val_score(model, X, y, cv=5{argument})
scores.mean(), scores.std()"""


def submit(design: Design) -> str:
    """Return the cell that writes the submission."""
    wants_probability = design.kind == "binary classification" and design.metric.wants in (
        "number",
        "probability",
    )
    prediction = "predict_proba(X_test)[:, 1]" if wants_probability else "predict(X_test)"
    return f"""\
submission = test[[ID]].assign(**{{TARGET: model.fit(X, y).{prediction}}})
submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
submission.head()"""
