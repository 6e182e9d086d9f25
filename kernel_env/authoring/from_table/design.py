"""What task a table makes: kind, metric and split, each with the reason it was chosen for."""

import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernel_env.errors import UsageError
from kernel_env.grading import metric as metrics
from kernel_env.grading.metric import Metric
from kernel_env.tasks.columns import numbers, wordy

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["binary classification", "multiclass classification", "regression"]
How = Literal["random", "group", "time"]

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
MOMENT = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?"
"""A date, or a date and a time, as ISO 8601 writes them."""
FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 10
MOST_CLASSES = 20
"""Whole numbers with more different values than this are amounts."""
REPEATS = 20
"""… and so are those that do not come this often each, on average."""
SKEW = 20
"""An amount whose largest value is this many times its median is compared by its logarithm."""
YES = ("1", "true", "yes", "y", "t", "positive", "pos", "+")

BROKEN = (ValueError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""What reading raises for a file that is no CSV, no UTF-8, or an archive that is cut off."""

LABELS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "matthews")
FITTING: dict[Kind, tuple[str, ...]] = {
    "binary classification": ("roc_auc", "average_precision", "log_loss", "brier", "f1", *LABELS),
    "multiclass classification": (*LABELS, "quadratic_kappa"),
    "regression": ("rmse", "rmsle", "mae", "median_ae", "mape", "r2"),
}
"""The stock metrics that a target of one column can be scored by, by the kind of task."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How test rows are chosen."""

    how: How
    column: str = ""
    """Whose values stay together, or are the moments."""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table, for the description."""

    name: str
    is_number: bool
    is_text: bool
    """Written in sentences."""
    what: str
    """Its type and some values, in words."""
    missing: int


@dataclass(frozen=True, kw_only=True)
class Design:
    """Everything that is decided of a task before its files are written."""

    name: str
    table: Path
    """Where it was read from."""
    target: str
    id: str
    """The id column's name in the task."""
    given_id: bool
    """Whether the table has it; else rows are numbered."""
    kind: Kind
    why_kind: str
    metric: Metric
    why_metric: str
    split: Split
    positive: str | None
    """What the target says where the task says 1; None where it is kept as it is."""
    classes: tuple[str, ...]
    """The target's values in the task, sorted; none of an amount."""
    columns: tuple[Column, ...]
    """Without id and target."""
    rows: int
    """With a target."""
    left_out: int
    """Rows without one."""


def read(path: Path) -> "pd.DataFrame":
    """A table as text, missing cells as NaN. Raises `UsageError`."""
    import pandas as pd

    kinds = (".csv", ".csv.gz", ".csv.xz", ".csv.bz2", ".csv.zip", ".parquet")
    if not path.name.endswith(kinds):
        raise UsageError(f"{path} is no table that can be read; give one of {', '.join(kinds)}")
    try:
        if path.suffix == ".parquet":
            whole = pd.read_parquet(path)
            table = whole.astype(object).where(whole.notna()).map(str, na_action="ignore")
        else:
            table = pd.read_csv(path, dtype=str)
    except ImportError as error:
        raise UsageError(
            f"{path}: parquet needs pyarrow (pip install pyarrow), or a CSV"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except BROKEN as error:
        raise UsageError(f"{path} is no table: {' '.join(str(error).split())}") from error
    if len(table.columns) < 2:
        raise UsageError(f"{path} has one column, {table.columns[0]!r}; cells want commas between")
    return table


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
    """Decide what is not said, and refuse what does not fit.

    Args:
        path, table: the table and where it was read from.
        split: `random`, `group:COLUMN` or `time:COLUMN`; None to choose.

    Raises `UsageError`.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"the name {name!r} must be of small letters, digits and hyphens")
    present(table, target, "--target")
    if id_column is not None:
        check_ids(table, id_column, target)
    if "Usage" in (target, id_column):
        raise UsageError("a column called 'Usage' can be no id and no target; rename it")
    text = table.fillna("").astype(str)
    known = text[table[target].notna()]
    if blank := int((known[target].str.strip() == "").sum()):
        raise UsageError(f"--target: {blank} cells of {target!r} hold blanks alone; empty them")
    if len(known) < FEWEST_ROWS:
        raise UsageError(
            f"{path} has {len(known)} rows with a {target!r}; at least {FEWEST_ROWS} are wanted"
        )
    kind, why_kind = kind_of(known[target])
    chosen, why_metric = metric_for(known[target], kind, metric)
    if chosen.name not in FITTING[kind] and chosen.name in metrics.STOCK:
        kind, why_kind = kind_for(known[target], kind, chosen)
    if kind != "regression":
        check_classes(known[target])
    counted = known[target].value_counts()
    positive = None
    if kind == "binary classification" and chosen.wants in ("number", "probability", "binary"):
        positive = positive_of(list(counted.index))
    classes: tuple[str, ...] = ()
    if kind != "regression":
        classes = ("0", "1") if positive is not None else tuple(sorted(counted.index))
    return Design(
        name=name,
        table=path,
        target=target,
        id=id_column or ("id" if "id" not in table else "row_id"),
        given_id=id_column is not None,
        kind=kind,
        why_kind=why_kind,
        metric=chosen,
        why_metric=why_metric,
        split=split_of(known, target, id_column, split, kind),
        positive=positive,
        classes=classes,
        columns=tuple(
            described(known[column]) for column in known if column not in (target, id_column)
        ),
        rows=len(known),
        left_out=len(text) - len(known),
    )


def present(table: "pd.DataFrame", column: str, option: str) -> None:
    """The table has the column."""
    if column not in table:
        found = ", ".join(map(str, list(table.columns)[:20]))
        raise UsageError(f"{option}: the table has no column {column!r}; it has {found}")


def check_ids(table: "pd.DataFrame", column: str, target: str) -> None:
    """The column can tell rows apart."""
    present(table, column, "--id")
    if column == target:
        raise UsageError(f"--id and --target are both {column!r}; an id is no target")
    missing, repeated = (
        int(table[column].isna().sum()),
        int(table[column].dropna().duplicated().sum()),
    )
    if missing or repeated:
        raise UsageError(
            f"--id: {column!r} has {missing} missing and {repeated} repeated values; an id stands"
            " once for each row. Leave --id out and rows are numbered"
        )


def kind_of(target: "pd.Series[str]") -> tuple[Kind, str]:
    """What the values of a target look like, and why."""
    different, rows = target.nunique(), len(target)
    values = numbers(target)
    if different < 2:
        raise UsageError(f"{target.name!r} is {target.iloc[0]!r} in every row; there is no task")
    if different == 2:
        return "binary classification", f"{target.name!r} has two values"
    if values is None:
        if different > rows / FEWEST_OF_A_CLASS:
            raise UsageError(
                f"{target.name!r} has {different:,} different texts in {rows:,} rows; as classes"
                f" each wants at least {FEWEST_OF_A_CLASS} rows, as amounts all must be numbers"
            )
        return "multiclass classification", f"{target.name!r} has {different} different texts"
    whole = bool((values % 1 == 0).all())
    if whole and different <= MOST_CLASSES and rows >= REPEATS * different:
        return (
            "multiclass classification",
            f"{target.name!r} has {different} whole numbers, each many times",
        )
    return "regression", f"{target.name!r} has {different:,} different numbers"


def kind_for(target: "pd.Series[str]", kind: Kind, metric: Metric) -> tuple[Kind, str]:
    """Another kind that the metric asks for and the target allows. Raises `UsageError`."""
    values = numbers(target)
    if metric.name in FITTING["regression"] and values is not None:
        return "regression", f"{metric.name} compares numbers, and {target.name!r} has them"
    if metric.name == "quadratic_kappa" and values is not None and (values % 1 == 0).all():
        return "multiclass classification", f"{metric.name} takes whole numbers as classes"
    fitting = ", ".join(FITTING[kind])
    raise UsageError(
        f"--metric {metric.name} does not fit {target.name!r}, a {kind}; these do: {fitting}"
    )


def metric_for(target: "pd.Series[str]", kind: Kind, name: str | None) -> tuple[Metric, str]:
    """The metric that was asked for, or one that fits, and why. Raises `UsageError`."""
    values = numbers(target)
    if name is not None:
        asked = metrics.find(name)
        lowest = None if values is None else float(values.min())
        if asked.wants == "non_negative" and lowest is not None and lowest < 0:
            raise UsageError(
                f"--metric {name} wants numbers from 0; {target.name!r} has {lowest:g}"
            )
        if name == "mape" and values is not None and (values == 0).any():
            raise UsageError(f"--metric mape divides by {target.name!r}, which is 0 in some rows")
        if name == "quadratic_kappa" and (values is None or (values % 1).any()):
            raise UsageError(f"--metric {name} wants whole numbers; {target.name!r} has others")
        if asked.wants in ("list", "anything"):
            raise UsageError(f"--metric {name} scores lists; write such a task's folder by hand")
        return asked, "as you said"
    largest = float(target.value_counts(normalize=True).iloc[0])
    share = f"the largest class has {100 * largest:.0f} % of the rows"
    match kind:
        case "binary classification":
            return metrics.find("roc_auc"), "two classes, judged by how well they are ranked"
        case "multiclass classification" if largest <= 0.5:
            return metrics.find(
                "accuracy"
            ), f"the largest class has {100 * largest:.0f} % of the rows"
        case "multiclass classification":
            return metrics.find("macro_f1"), f"{share}, so all classes count the same"
    assert values is not None
    middle = float(sorted(values)[len(values) // 2])
    if values.min() >= 0 and middle > 0 and values.max() > SKEW * middle:
        times = f"{values.max() / middle:.0f} times its median"
        return metrics.find("rmsle"), f"the largest value is {times}, so ratios count"
    return metrics.find("rmse"), "an amount"


def check_classes(target: "pd.Series[str]") -> None:
    """Each class has enough rows to stand in all parts."""
    counted = target.value_counts()
    few, rows = counted.index[-1], int(counted.iloc[-1])
    if rows < FEWEST_OF_A_CLASS:
        raise UsageError(
            f"the class {few!r} has {rows} rows; each wants at least {FEWEST_OF_A_CLASS}, to stand"
            " in train and in test: leave such rows out or join classes"
        )


def positive_of(values: list[str]) -> str | None:
    """Which of two values is the 1: it says yes, it is the greater number, or it is rarer."""
    if set(values) == {"0", "1"}:
        return None
    sure = [value for value in values if value.strip().lower() in YES]
    if len(sure) == 1:
        return sure[0]
    try:
        return max(values, key=float)
    except ValueError:
        return values[-1]  # they came with the most frequent first


def split_of(
    table: "pd.DataFrame", target: str, id_column: str | None, said: str | None, kind: Kind
) -> Split:
    """The split that was asked for, or one that fits. Raises `UsageError`."""
    others = [str(column) for column in table if column not in (target, id_column)]
    if said is None:
        for column in others:
            if table[column].str.fullmatch(MOMENT).all() and table[column].nunique() >= 10:
                why = f"{column!r} holds moments, so the last rows are the test"
                return Split(how="time", column=column, why=why)
        stratified = "" if kind == "regression" else ", stratified"
        return Split(how="random", why=f"no column holds moments{stratified}")
    how, _, column = said.partition(":")
    if said == "random":
        return Split(how="random", why="as you said")
    if how not in ("group", "time") or not column:
        raise UsageError(f"--split is {said!r}; give random, group:COLUMN or time:COLUMN")
    present(table, column, "--split")
    if column in (target, id_column):
        raise UsageError(f"--split: {column!r} is the id or the target; give another column")
    if how == "group":
        if (groups := table[column].nunique()) < FEWEST_OF_A_CLASS:
            raise UsageError(
                f"--split: {column!r} has {groups} different values; to be dealt out to three"
                f" parts there must be at least {FEWEST_OF_A_CLASS}"
            )
        return Split(how="group", column=column, why="as you said")
    check_moments(table[column])
    return Split(how="time", column=column, why="as you said")


def check_moments(column: "pd.Series[str]") -> None:
    """Every cell is a number or a date."""
    import pandas as pd

    values = numbers(column)
    if values is None:
        try:
            moments = pd.to_datetime(column.replace("", None), format="ISO8601", utc=True)
        except ValueError as error:
            raise UsageError(
                f"--split: not all of {column.name!r} are moments; write them as numbers, or as"
                " dates such as 2024-01-31 or 2024-01-31 23:59:59"
            ) from error
        missing, different = int(moments.isna().sum()), moments.nunique()
    else:
        missing, different = int(pd.isna(values).sum()), column.nunique()
    if missing or different < FEWEST_OF_A_CLASS:
        raise UsageError(
            f"--split: {column.name!r} has {missing} missing and {different} different moments; a"
            f" split by time wants none missing and at least {FEWEST_OF_A_CLASS} different"
        )


def described(column: "pd.Series[str]") -> Column:
    """A column's type and some of its values."""
    present = column[column != ""]
    values, known = numbers(column), numbers(present)
    is_text = values is None and wordy(column)
    if present.empty:
        what = "always missing"
    elif known is not None:
        whole = "whole number" if np.all(known % 1 == 0) else "number"
        what = f"{whole}, {known.min():.6g} to {known.max():.6g}"
    elif present.str.fullmatch(MOMENT).all():
        what = f"moment, {present.min()} to {present.max()}"
    elif is_text:
        what = f"text of {present.str.len().median():.0f} characters in the median"
    else:
        counted = present.value_counts()
        examples = ", ".join(f"`{short(value)}`" for value in counted.index[:3])
        what = f"one of {len(counted):,} values: {examples}" + (" …" if len(counted) > 3 else "")
    return Column(
        name=str(column.name),
        is_number=values is not None,
        is_text=is_text,
        what=what,
        missing=len(column) - len(present),
    )


def short(value: str) -> str:
    """A cell for a line."""
    one_line = " ".join(value.split()).replace("|", "/").replace("`", "'")
    return one_line if len(one_line) <= 30 else one_line[:29] + "…"
