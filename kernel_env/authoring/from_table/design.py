"""Choose a task's kind, metric and split from a table, and give a reason for each choice."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from kernel_env.authoring.families import find_families
from kernel_env.authoring.from_table.columns import (
    TIMESTAMP,
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
from kernel_env.authoring.from_table.target import (
    Kind,
    check_finite,
    choose_kind_and_metric,
    choose_positive,
    extra_column,
    missing_classes,
)
from kernel_env.errors import UnknownName, UsageError
from kernel_env.grading.metric import Metric
from kernel_env.tasks.columns import numbers

if TYPE_CHECKING:
    import pandas as pd

Domain = Literal["tabular", "language", "time series", "vision"]

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
PIXEL = re.compile(r"pixel_?\d+")
"""The name of a column with a pixel of a square picture."""
SAMPLE = re.compile(r"(.+)_(\d+)")
"""The name of a column with a sample of a channel."""
MIN_SAMPLES = 20
"""The least number of samples in a row that is a window of a series."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Every choice about a task before its files are written."""

    name: str
    """The task's name and the name of its folder."""
    table: Path
    """The file that the table was read from."""
    targets: tuple[str, ...]
    """The names of the target columns."""
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
    extra: str = ""
    """The column of the answers that the metric reads beside the target: the event, which test rows
    lack, or the query, which they have. Empty: none."""
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
    families: "pd.Series[str] | None" = field(default=None, compare=False, repr=False)
    """The family of each row of the table, '' for rows without a target. A split does not separate
    rows of a family. None: only rows with equal features are kept together."""
    rows: int
    """The number of rows with a target."""
    left_out: int
    """The number of rows without a target, which the task leaves out."""

    @property
    def target(self) -> str:
        """Return the name of the first target column."""
        return self.targets[0]

    @property
    def event(self) -> str:
        """Return the column of events, which is hidden like the target; empty if there is none."""
        return self.extra if self.metric.extra == "event" else ""

    @property
    def has_files(self) -> bool:
        """Return whether each row is a picture in a file of its own."""
        return self.domain == "vision" and self.table.is_dir()


def design(
    name: str,
    path: Path,
    table: "pd.DataFrame",
    *,
    target: str | Sequence[str],
    id_column: str | None = None,
    metric: str | None = None,
    split: str | None = None,
    domain: Domain | None = None,
    event: str | None = None,
) -> Design:
    """Choose everything that the caller does not specify, and validate the rest.

    Args:
        name: the task's name.
        path: the file that the table was read from.
        table: the table as `table.read` returns it.
        target: the name of the target column, or of several.
        id_column: a column with a unique value in each row; None: prepare.py numbers the rows.
        metric: a metric's name; None: choose one.
        split: `random`, `group:COLUMN`, `time:COLUMN`, `group:COLUMN,time:COLUMN`, or
            `family:COLUMN`, a column that is no feature; None: choose one.
        domain: the kind of data; None: what the columns are.
        event: for a target of times, the column that is 1 where the event happened then and 0
            where the row is censored; the metric is the concordance index.

    Raises:
        UsageError: an argument does not fit the table, or no valid task is possible.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"the name {name!r} must consist of small letters, digits and hyphens")
    targets = (target,) if isinstance(target, str) else tuple(target)
    for each in targets:
        require_column(table, each, "--target")
    if event is not None:
        require_column(table, event, "--event")
        if event in (*targets, id_column):
            raise UsageError(f"--event: {event!r} is the id or the target; give another column")
    if id_column is not None:
        check_ids(table, id_column, targets)
    if "Usage" in (*targets, id_column):
        raise UsageError("the column name 'Usage' is reserved; rename the id or target column")
    table = table.assign(**{each: without_missing_words(table[each]) for each in targets})
    labelled = table[(table[list(targets)] != "").all(axis=1)]
    check_targets(path, labelled, targets)
    dropped = tuple(
        str(name) for name in labelled if name != id_column and (labelled[name] == "").all()
    )
    labelled = labelled.drop(columns=list(dropped))
    if event is not None:
        metric = metric or "concordance"
    kind, why_kind, chosen, why_metric = choose_kind_and_metric(labelled, targets, metric)
    chosen_split = choose_split(
        labelled.drop(columns=event or []),
        targets,
        id_column,
        split,
        stratified=kind != "regression",
    )
    extra = extra_column(labelled, chosen, event, chosen_split)
    others = (*targets, id_column, chosen_split.hidden, event)
    features = [str(column) for column in labelled if column not in others]
    if not features:
        raise UsageError(f"{path} has no column beside the target and the id; a task needs one")
    first = labelled[targets[0]]
    counts = first.value_counts()
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
        targets=targets,
        id=id_column or new_id_name(list(table.columns)),
        has_id_column=id_column is not None,
        kind=kind,
        why_kind=why_kind,
        metric=chosen,
        why_metric=why_metric,
        split=chosen_split,
        extra=extra,
        positive=positive,
        classes=classes,
        target_is_number=numbers(first) is not None,
        domain=domain or infer_domain(labelled, columns, kind, chosen_split),
        columns=columns,
        families=families_of(table, labelled, features, chosen_split),
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
            for name in (id_column, *(targets if classes and positive is None else ()))
            if name is not None and not reads_back(labelled[name])
        ),
        remarks=(
            *(f"{name!r} is always empty, so it is dropped" for name in dropped),
            *missing_classes(first, kind),
            *filter(None, (remark(labelled[column]) for column in features)),
        ),
    )


def check_targets(path: Path, labelled: "pd.DataFrame", targets: Sequence[str]) -> None:
    """Raise `UsageError` when there are too few rows, or a target's cells are no values."""
    for target in targets:
        if blank := int((labelled[target].str.strip() == "").sum()):
            raise UsageError(
                f"--target: {blank} cells of {target!r} contain only blanks; empty them"
            )
        check_finite(labelled[target])
    if len(labelled) < MIN_ROWS:
        raise UsageError(
            f"{path} has {len(labelled)} rows with a {targets[0]!r}; a task needs at least"
            f" {MIN_ROWS}"
        )


def known_domain(name: str | None) -> Domain | None:
    """Return a domain by its name. Raises `UnknownName`."""
    for domain in get_args(Domain):
        if name == domain:
            found: Domain = domain
            return found
    if name is None:
        return None
    raise UnknownName("domain", name, get_args(Domain))


def infer_domain(
    labelled: "pd.DataFrame", columns: Sequence[Column], kind: Kind, split: Split
) -> Domain:
    """Return the domain by what the columns are.

    A single column of many different texts is language. Square numbers of pixels are pictures,
    samples of channels and moments to forecast are time series; all others are tables.
    """
    moments = labelled[split.column] if split.method in ("time", "time in group") else None
    if kind == "regression" and moments is not None and moments.str.fullmatch(TIMESTAMP).all():
        return "time series"
    if len(columns) == 1 and not columns[0].is_number:
        filled = labelled[columns[0].name]
        return "language" if filled.nunique() >= len(filled) / 2 else "tabular"
    names = [column.name for column in columns if column.is_number]
    if kind != "regression":
        pixels = sum(PIXEL.fullmatch(name) is not None for name in names)
        if pixels == len(columns) >= MIN_SAMPLES and math.isqrt(pixels) ** 2 == pixels:
            return "vision"
        channels = Counter(found[1] for name in names if (found := SAMPLE.fullmatch(name)))
        if channels and sum(channels.values()) >= max(MIN_SAMPLES, 0.8 * len(columns)):
            return "time series" if len(set(channels.values())) == 1 else "tabular"
    return "tabular"


def families_of(
    table: "pd.DataFrame", labelled: "pd.DataFrame", features: list[str], split: Split
) -> "pd.Series[str] | None":
    """Return the family of each row of a table, if a split must know more than equal features.

    Args:
        table: all rows.
        labelled: the rows with a target.
        features: the feature columns.
        split: how rows are split; in time, the rows decide.
    """
    import pandas as pd

    if split.method in ("time", "time in group"):
        return None
    group = labelled[split.column] if split.method in ("family", "group") else None
    found = pd.Series(find_families(labelled[features], group), index=labelled.index)
    kept = len(labelled[features].drop_duplicates())
    if split.method == "family":
        kept = -1
    elif group is not None:
        kept = group.nunique()
    if found.nunique() == kept:
        return None
    if found.nunique() < MIN_FOR_SPLIT:
        raise UsageError(
            f"so many rows are alike that they form {found.nunique()} families, which must stay"
            f" together; a split needs at least {MIN_FOR_SPLIT}: leave out repeated rows"
        )
    return found.astype(str).reindex(table.index, fill_value="")


def new_id_name(columns: list[str]) -> str:
    """Return a name for the column of row numbers that no column of the table has."""
    name = "id"
    while name in columns:
        name = f"row_{name}"
    return name


def check_ids(table: "pd.DataFrame", column: str, targets: Sequence[str]) -> None:
    """Raise `UsageError` unless the column has a unique value in each row."""
    require_column(table, column, "--id")
    if column in targets:
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
