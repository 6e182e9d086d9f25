"""The solution.ipynb of a new task: plain, for an author or a learner to go on from."""

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
"""scikit-learn's names for them, the greater the better."""


def solution(design: Design) -> nbformat.NotebookNode:
    """A plain notebook that an author, or a learner, can go on from."""
    v4 = nbformat.v4
    summary = "describe" if design.kind == "regression" else "value_counts"
    cells = [
        v4.new_markdown_cell(f"# {title(design)}\n\nA first solution: read, look, fit, submit."),
        v4.new_code_cell(READ.format(id=quoted(design.id), target=quoted(design.target))),
        v4.new_markdown_cell("What is to be predicted, and what is missing."),
        v4.new_code_cell(f"train[TARGET].{summary}()"),
        v4.new_code_cell("train.isna().mean().sort_values(ascending=False).head()"),
        v4.new_markdown_cell(
            "Texts become categories, the same in train and test; rare ones count as missing."
            " Gradient boosting takes both as they are."
        ),
        v4.new_code_cell(features(design)),
        v4.new_markdown_cell("Five folds say how good it is before the board does."),
        v4.new_code_cell(model(design)),
        v4.new_markdown_cell("Then all rows teach it."),
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


READ = """\
import os
from pathlib import Path

import numpy as np
import pandas as pd

ID, TARGET = {id}, {target}
data = Path(os.environ["DATA_PATH"])
train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
train.head()"""


def features(design: Design) -> str:
    """The cell that makes the tables ready for a model."""
    when = ""
    moments = [c.name for c in design.columns if c.what.startswith("moment")]
    for name in moments:
        when += f"""\
moment = pd.to_datetime(both.pop({quoted(name)}), format="ISO8601", utc=True)
for unit in ("year", "month", "dayofweek", "hour"):
    both[{quoted(name + " ")} + unit] = getattr(moment.dt, unit)
"""
    return f"""\
both = pd.concat([train, test], ignore_index=True).drop(columns=[ID, TARGET])
{when}for name in both.select_dtypes(exclude="number"):
    frequent = both[name].value_counts().index[:200]
    both[name] = both[name].where(both[name].isin(frequent)).astype("category")
X, X_test = both.iloc[: len(train)], both.iloc[len(train) :]
y = train[TARGET]"""


def model(design: Design) -> str:
    """The cell that fits and judges."""
    if design.kind == "regression":
        made = 'HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)'
        imported = "from sklearn.ensemble import HistGradientBoostingRegressor"
        if design.metric.name == "rmsle":
            imported = "from sklearn.compose import TransformedTargetRegressor\n" + imported
            made = (
                "TransformedTargetRegressor(\n    HistGradientBoostingRegressor("
                'categorical_features="from_dtype", random_state=0),\n'
                "    func=np.log1p,\n    inverse_func=lambda y: np.expm1(np.maximum(y, 0)),\n)"
            )
    else:
        imported = "from sklearn.ensemble import HistGradientBoostingClassifier"
        made = 'HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)'
    scoring = SCORING.get(design.metric.name)
    how = f', scoring="{scoring}"' if scoring else ""
    return f"""\
{imported}
from sklearn.model_selection import cross_val_score

model = {made}
scores = cross_val_score(model, X, y, cv=5{how})
scores.mean(), scores.std()"""


def submit(design: Design) -> str:
    """The cell that writes the submission."""
    chance = design.kind == "binary classification" and design.metric.wants in (
        "number",
        "probability",
    )
    said = "predict_proba(X_test)[:, 1]" if chance else "predict(X_test)"
    return f"""\
submission = test[[ID]].assign(**{{TARGET: model.fit(X, y).{said}}})
submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
submission.head()"""
