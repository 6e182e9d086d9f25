"""Choose the kind of task and the metric by the values of the target."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernel_env.authoring.from_table.columns import WITH_SEPARATORS
from kernel_env.authoring.from_table.split import MIN_FOR_SPLIT, Split, require_column
from kernel_env.errors import UnknownName, UsageError
from kernel_env.grading import metric as metrics
from kernel_env.grading.metric import Metric
from kernel_env.tasks.columns import is_missing_word, numbers

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["binary classification", "multiclass classification", "regression"]
MAX_INTEGER_CLASSES = 20
"""A target of whole numbers with more distinct values is continuous."""
MIN_ROWS_PER_VALUE = 20
"""A target of whole numbers with fewer rows per distinct value, on average, is continuous."""
SKEW_RATIO = 20
"""A target whose maximum is more than this many times its median gets a logarithmic metric."""
OTHER = "other"
"""The class to which rare ones are joined."""
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
METRICS_OF_SEVERAL = {"regression": "r2", "binary classification": "roc_auc"}
"""The default metric of several targets, by kind: one whose mean over targets does not depend on
their units."""


def choose_kind_and_metric(
    labelled: "pd.DataFrame", targets: Sequence[str], metric: str | None
) -> tuple[Kind, str, Metric, str]:
    """Return the kind of task and the metric, each with the reason for it.

    Raises:
        UsageError: the metric does not fit, a class is rare, or several targets differ in kind.
    """
    found = []
    for target in targets:
        kind, why_kind = infer_kind(labelled[target])
        wanted = metric or (METRICS_OF_SEVERAL.get(kind) if len(targets) > 1 else None)
        chosen, why_metric = choose_metric(labelled[target], kind, wanted)
        if chosen.extra:
            kind, why_kind = amount_for_order(labelled[target], chosen, len(targets))
        elif chosen.name not in METRICS_BY_KIND[kind] and chosen.name in metrics.BUILT_IN:
            kind, why_kind = kind_for_metric(labelled[target], kind, chosen)
        if kind != "regression":
            check_classes(labelled[target])
        found.append((kind, why_kind, chosen, why_metric))
    if len(targets) == 1:
        return found[0]
    kinds = {kind for kind, *_ in found}
    if len(kinds) > 1 or "multiclass classification" in kinds:
        raise UsageError(
            f"--target: of {', '.join(map(repr, targets))}, the kinds are"
            f" {', '.join(sorted(kinds))}; several targets must all be numbers, or all 0 and 1"
        )
    kind, _, chosen, _ = found[0]
    if kind == "binary classification":
        for target in targets:
            if set(labelled[target]) != {"0", "1"}:
                raise UsageError(f"--target: {target!r} is one of several and must be 0 or 1")
    why = "as requested" if metric else "the mean over the targets does not depend on their units"
    return kind, f"{len(targets)} targets of this kind", chosen, why


def amount_for_order(target: "pd.Series[str]", metric: Metric, count: int) -> tuple[Kind, str]:
    """Return the kind of a task whose metric scores an order, with the reason.

    Raises:
        UsageError: the target has other values than numbers of at least 0, or is one of several.
    """
    values = numbers(target)
    if values is None or np.isnan(values).any() or values.min() < 0 or count > 1:
        what = {"event": "times", "query": "relevances"}.get(metric.extra, "numbers")
        raise UsageError(
            f"--metric {metric.name} takes one target of {what}, numbers of at least 0;"
            f" {target.name!r} is {'one of several' if count > 1 else 'no such column'}"
        )
    return "regression", f"{metric.name} compares the order of {target.name!r}"


def extra_column(labelled: "pd.DataFrame", metric: Metric, event: str | None, split: Split) -> str:
    """Return the column that the metric reads beside the target; empty if it reads none.

    Args:
        labelled: the rows with a target.
        metric: the chosen metric.
        event: the column of events, if the author names one.
        split: how rows are split; by query, for a metric of queries.

    Raises:
        UsageError: there is no such column, or its cells do not fit.
    """
    if metric.extra != "event" and event is not None:
        raise UsageError(f"--event is for --metric concordance, not for {metric.name}")
    match metric.extra:
        case "":
            return ""
        case "event" if event is None:
            raise UsageError(
                f"--metric {metric.name} needs --event: the column that is 1 where the event"
                " happened and 0 where a row is censored"
            )
        case "event":
            if set(labelled[event]) != {"0", "1"}:
                found = ", ".join(map(repr, labelled[event].value_counts().index[:4]))
                raise UsageError(
                    f"--event: {event!r} must be 1 where the event happened and 0 where a row is"
                    f" censored; it has {found}"
                )
            return str(event)
        case "query" if split.method == "group":
            return split.column
        case "query":
            raise UsageError(
                f"--metric {metric.name} ranks the rows of a query; give --split group:COLUMN, the"
                " column of the queries"
            )
    raise UsageError(
        f"--metric {metric.name} reads the {metric.extra} of a row; write such a task's folder by"
        " hand"
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
    of_classes = METRICS_BY_KIND["multiclass classification"]
    if metric.name in of_classes and values is not None and (values % 1 == 0).all():
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
            " be in the training set and the test set: give --rare drop or --rare join, or"
            " remove such rows"
            f"{'; --metric rmse predicts the number' if numbers(target) is not None else ''}"
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


def without_rare_classes(
    table: "pd.DataFrame", target: str, do: str, below: int = MIN_FOR_SPLIT
) -> "pd.DataFrame":
    """Drop the rows of rare classes, or join these classes to one, `OTHER`.

    Args:
        table: a table of text.
        target: the column of the classes.
        do: `drop` or `join`.
        below: the number of rows from which a class is not rare.

    Raises:
        UnknownName: `do` is neither.
    """
    require_column(table, target, "--target")
    counts = table[target].map(table[target].value_counts())
    is_rare = (counts < below) & (table[target] != "")
    match do:
        case "drop":
            return table[~is_rare].reset_index(drop=True)
        case "join":
            return table.assign(**{target: table[target].mask(is_rare, OTHER)})
    raise UnknownName("way to treat rare classes", do, ("drop", "join"))
