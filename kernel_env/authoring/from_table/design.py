"""Choose a task's kind, metric and split from a table, and give a reason for each choice."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernel_env.authoring.from_table.columns import (
    WITH_SEPARATORS,
    Column,
    describe_column,
    reads_back,
    remark,
    without_missing_words,
)
from kernel_env.authoring.from_table.split import (
    MIN_FOR_SPLIT,
    MIN_ROWS,
    Split,
    choose_split,
    require_column,
)
from kernel_env.errors import UsageError
from kernel_env.grading import metric as metrics
from kernel_env.grading.metric import Metric
from kernel_env.tasks.columns import is_missing_word, numbers

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["binary classification", "multiclass classification", "regression"]
Domain = Literal["tabular", "language", "vision"]

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
MAX_INTEGER_CLASSES = 20
"""A target of whole numbers with more distinct values is continuous."""
MIN_ROWS_PER_VALUE = 20
"""A target of whole numbers with fewer rows per distinct value, on average, is continuous."""
SKEW_RATIO = 20
"""A target whose maximum is more than this many times its median gets a logarithmic metric."""
POSITIVE_VALUES = ("1", "true", "yes", "y", "t", "positive", "pos", "+")

LABEL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "matthews")
METRICS_BY_KIND: dict[Kind, tuple[str, ...]] = {
    "binary classification": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "f1",
        *LABEL_METRICS,
    ),
    "multiclass classification": (*LABEL_METRICS, "quadratic_kappa"),
    "regression": ("rmse", "rmsle", "mae", "median_ae", "mape", "r2"),
}
"""The stock metrics that can score a single target column, by kind of task."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Every choice about a task before its files are written."""

    name: str
    """The task's name and the name of its folder."""
    table: Path
    """The file that the table was read from."""
    target: str
    """The name of the target column."""
    id: str
    """The name of the id column in the task."""
    has_id_column: bool
    """Whether the table contains the id column; if not, prepare.py numbers the rows."""
    kind: Kind
    """The kind of task."""
    why_kind: str
    """The reason for the kind."""
    metric: Metric
    """The metric that scores submissions."""
    why_metric: str
    """The reason for the metric."""
    split: Split
    """How rows are assigned to the training set and the test set."""
    positive: str | None
    """The target value that the task encodes as 1; None: the values are not encoded."""
    classes: tuple[str, ...]
    """The target's values in the task, sorted; empty for a regression."""
    domain: Domain
    """The kind of data, which selects the reference pipelines."""
    target_is_number: bool
    """Whether every value of the target is a number."""
    columns: tuple[Column, ...]
    """The feature columns: all columns without the id, the target and those that are dropped."""
    dropped: tuple[str, ...] = ()
    """The columns that prepare.py drops, because all their cells are empty."""
    with_words: tuple[str, ...] = ()
    """The columns of numbers in which prepare.py empties cells such as `NA`."""
    as_text: tuple[str, ...] = ()
    """Those of the id and the target that pandas changes unless it reads them as text."""
    remarks: tuple[str, ...] = ()
    """What the author should look at in the table, one sentence each."""
    rows: int
    """The number of rows with a target."""
    left_out: int
    """The number of rows without a target, which the task leaves out."""


def design(
    name: str,
    path: Path,
    table: "pd.DataFrame",
    *,
    target: str,
    id_column: str | None = None,
    metric: str | None = None,
    split: str | None = None,
) -> Design:
    """Choose everything that the caller does not specify, and validate the rest.

    Args:
        name: the task's name.
        path: the file that the table was read from.
        table: the table as `table.read` returns it.
        target: the name of the target column.
        id_column: a column with a unique value in each row; None: prepare.py numbers the rows.
        metric: a metric's name; None: choose one.
        split: `random`, `group:COLUMN` or `time:COLUMN`; None: choose one.

    Raises:
        UsageError: an argument does not fit the table, or no valid task is possible.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"the name {name!r} must consist of small letters, digits and hyphens")
    require_column(table, target, "--target")
    if id_column is not None:
        check_ids(table, id_column, target)
    if "Usage" in (target, id_column):
        raise UsageError("the column name 'Usage' is reserved; rename the id or target column")
    table = table.assign(**{target: without_missing_words(table[target])})
    labelled = table[table[target] != ""]
    if blank := int((labelled[target].str.strip() == "").sum()):
        raise UsageError(f"--target: {blank} cells of {target!r} contain only blanks; empty them")
    if len(labelled) < MIN_ROWS:
        raise UsageError(
            f"{path} has {len(labelled)} rows with a {target!r}; a task needs at least {MIN_ROWS}"
        )
    check_finite(labelled[target])
    dropped = tuple(
        str(name) for name in labelled if name != id_column and (labelled[name] == "").all()
    )
    labelled = labelled.drop(columns=list(dropped))
    features = [str(column) for column in labelled if column not in (target, id_column)]
    if not features:
        raise UsageError(f"{path} has no column beside the target and the id; a task needs one")
    kind, why_kind = infer_kind(labelled[target])
    chosen, why_metric = choose_metric(labelled[target], kind, metric)
    if chosen.name not in METRICS_BY_KIND[kind] and chosen.name in metrics.BUILT_IN:
        kind, why_kind = kind_for_metric(labelled[target], kind, chosen)
    if kind != "regression":
        check_classes(labelled[target])
    counts = labelled[target].value_counts()
    positive = None
    if kind == "binary classification" and chosen.wants in ("number", "probability", "binary"):
        positive = choose_positive(list(counts.index))
    classes: tuple[str, ...] = ()
    if kind != "regression":
        classes = ("0", "1") if positive is not None else tuple(sorted(counts.index))
    columns = tuple(describe_column(labelled[column]) for column in features)
    return Design(
        name=name,
        table=path,
        target=target,
        id=id_column or new_id_name(list(table.columns)),
        has_id_column=id_column is not None,
        kind=kind,
        why_kind=why_kind,
        metric=chosen,
        why_metric=why_metric,
        split=choose_split(labelled, target, id_column, split, stratified=kind != "regression"),
        positive=positive,
        classes=classes,
        target_is_number=numbers(labelled[target]) is not None,
        domain="language" if len(columns) == 1 and columns[0].is_text else "tabular",
        columns=columns,
        rows=len(labelled),
        left_out=len(table) - len(labelled),
        dropped=dropped,
        with_words=tuple(
            name
            for name in features
            if not labelled[name].equals(without_missing_words(labelled[name]))
        ),
        as_text=tuple(
            name
            for name in (id_column, target if classes and positive is None else None)
            if name is not None and not reads_back(labelled[name])
        ),
        remarks=(
            *(f"{name!r} is always empty, so it is dropped" for name in dropped),
            *missing_classes(labelled[target], kind),
            *filter(None, (remark(labelled[column]) for column in features)),
        ),
    )


def check_finite(target: "pd.Series[str]") -> None:
    """Raise `UsageError` for a target of numbers that are not all finite."""
    values = numbers(target)
    if values is not None and (infinite := int(np.isinf(values).sum())):
        raise UsageError(
            f"--target: {infinite} cells of {target.name!r} are infinite; empty them, or write the"
            " largest number that can occur"
        )


def missing_classes(target: "pd.Series[str]", kind: Kind) -> list[str]:
    """Return a remark for each class whose name often means a missing value."""
    if kind == "regression":
        return []
    counts = target[is_missing_word(target)].value_counts()
    return [
        f"{name!r} is a class with {rows:,} rows; if it means a missing value, empty those cells"
        for name, rows in counts.items()
    ]


def new_id_name(columns: list[str]) -> str:
    """Return a name for the column of row numbers that no column of the table has."""
    name = "id"
    while name in columns:
        name = f"row_{name}"
    return name


def check_ids(table: "pd.DataFrame", column: str, target: str) -> None:
    """Raise `UsageError` unless the column has a unique value in each row."""
    require_column(table, column, "--id")
    if column == target:
        raise UsageError(f"--id and --target are both {column!r}; choose two columns")
    missing, repeated = (
        int((table[column].str.strip() == "").sum()),
        int(table[column][table[column] != ""].duplicated().sum()),
    )
    if missing or repeated:
        raise UsageError(
            f"--id: {column!r} has {missing} missing and {repeated} repeated values; an id must"
            " be unique in each row. Omit --id to have the rows numbered"
        )


def infer_kind(target: "pd.Series[str]") -> tuple[Kind, str]:
    """Infer the kind of task from the target's values; return it with the reason.

    Raises:
        UsageError: the target is constant, or has too many distinct texts.
    """
    distinct, rows = target.nunique(), len(target)
    values = numbers(target)
    if distinct < 2:
        raise UsageError(f"{target.name!r} is {target.iloc[0]!r} in every row; there is no task")
    if distinct == 2:
        return "binary classification", f"{target.name!r} has two values"
    if values is None:
        if distinct > rows / MIN_FOR_SPLIT:
            raise UsageError(
                f"{target.name!r} has {distinct:,} distinct texts in {rows:,} rows; classes need"
                f" at least {MIN_FOR_SPLIT} rows each, a regression needs numbers in all rows"
                f"{example_of_text(target)}"
            )
        return "multiclass classification", f"{target.name!r} has {distinct} distinct texts"
    whole = bool((values % 1 == 0).all())
    if whole and distinct <= MAX_INTEGER_CLASSES and rows >= MIN_ROWS_PER_VALUE * distinct:
        return (
            "multiclass classification",
            f"{target.name!r} has {distinct} distinct whole numbers, each many times",
        )
    return "regression", f"{target.name!r} has {distinct:,} distinct numbers"


def example_of_text(target: "pd.Series[str]") -> str:
    """Return the first cell that looks like a number and is none, as the end of a message."""
    looks = target[target.str.fullmatch(WITH_SEPARATORS)]
    return f"; {looks.iloc[0]!r} is none, write it like 1234.5" if len(looks) else ""


def kind_for_metric(target: "pd.Series[str]", kind: Kind, metric: Metric) -> tuple[Kind, str]:
    """Return another kind that fits both the metric and the target, with the reason.

    Raises:
        UsageError: the metric does not fit the target.
    """
    values = numbers(target)
    if metric.name in METRICS_BY_KIND["regression"] and values is not None:
        return "regression", f"{metric.name} compares numbers, and {target.name!r} has them"
    if metric.name == "quadratic_kappa" and values is not None and (values % 1 == 0).all():
        return "multiclass classification", f"{metric.name} takes whole numbers as classes"
    fitting = ", ".join(METRICS_BY_KIND[kind])
    raise UsageError(
        f"--metric {metric.name} does not fit {target.name!r}, a {kind}; these do: {fitting}"
    )


def choose_metric(target: "pd.Series[str]", kind: Kind, name: str | None) -> tuple[Metric, str]:
    """Return the requested metric, or one that fits the target, with the reason.

    Raises:
        UsageError: the requested metric cannot score the target's values.
    """
    values = numbers(target)
    if name is not None:
        requested = metrics.find(name)
        lowest = None if values is None else float(values.min())
        if requested.wants == "non_negative" and lowest is not None and lowest < 0:
            raise UsageError(
                f"--metric {name} requires numbers of at least 0; {target.name!r} has {lowest:g}"
            )
        if name == "mape" and values is not None and (values == 0).any():
            raise UsageError(f"--metric mape divides by {target.name!r}, which is 0 in some rows")
        if name == "quadratic_kappa" and (values is None or (values % 1).any()):
            raise UsageError(
                f"--metric {name} requires whole numbers; {target.name!r} has other values"
            )
        if requested.wants in ("list", "anything"):
            raise UsageError(f"--metric {name} scores lists; write such a task's folder by hand")
        return requested, "as requested"
    largest = float(target.value_counts(normalize=True).iloc[0])
    share = f"the largest class has {100 * largest:.0f} % of the rows"
    match kind:
        case "binary classification":
            return metrics.find("roc_auc"), "two classes, scored by the ranking of the rows"
        case "multiclass classification" if largest <= 0.5:
            return metrics.find("accuracy"), share
        case "multiclass classification":
            return metrics.find("macro_f1"), f"{share}, so all classes have the same weight"
    assert values is not None
    median = float(sorted(values)[len(values) // 2])
    if values.min() >= 0 and median > 0 and values.max() > SKEW_RATIO * median:
        times = f"{values.max() / median:.0f} times the median"
        return metrics.find("rmsle"), f"the maximum is {times}, so errors are compared as ratios"
    return metrics.find("rmse"), "a continuous target"


def check_classes(target: "pd.Series[str]") -> None:
    """Raise `UsageError` when a class has too few rows to be in every part of the split."""
    counts = target.value_counts()
    rarest, rows = counts.index[-1], int(counts.iloc[-1])
    if rows < MIN_FOR_SPLIT:
        raise UsageError(
            f"the class {rarest!r} has {rows} rows; each class needs at least {MIN_FOR_SPLIT}, to"
            " be in the training set and the test set: remove such rows or merge classes"
        )


def choose_positive(values: list[str]) -> str | None:
    """Choose which of two values the task encodes as 1; None if they are 0 and 1 already.

    It is the value that means yes, else the greater number, else the rarer one.

    Args:
        values: the two values, the more frequent first.
    """
    if set(values) == {"0", "1"}:
        return None
    affirmative = [value for value in values if value.strip().lower() in POSITIVE_VALUES]
    if len(affirmative) == 1:
        return affirmative[0]
    try:
        return max(values, key=float)
    except ValueError:
        return values[-1]
