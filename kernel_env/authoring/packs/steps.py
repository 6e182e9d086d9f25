"""Change a table as a manifest declares it: its rows, columns, names and values."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel_env.authoring.from_table.target import without_rare_classes
from kernel_env.authoring.packs.manifest import Condition, SourceSection, TaskSection
from kernel_env.authoring.packs.readers import LABEL
from kernel_env.errors import TaskError
from kernel_env.tasks.columns import numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ROW_NAMES = ("rownames", "Unnamed: 0", "")
"""Names of columns that programs write beside a table and that say nothing."""


def combine(sources: Sequence[tuple[SourceSection, "pd.DataFrame"]]) -> "pd.DataFrame":
    """Return one table: rows are joined by columns where a source says so, else they follow."""
    import pandas as pd

    table = sources[0][1]
    for source, other in sources[1:]:
        if not source.join:
            table = pd.concat([table, other], ignore_index=True).fillna("")
            continue
        by = list(source.join)
        require(table, by, "join")
        require(other, by, "join")
        table = table.merge(other.drop_duplicates(by), on=by)
    return table


def apply(task: TaskSection, name: str, table: "pd.DataFrame") -> "pd.DataFrame":
    """Apply the steps of a task, in the order of the manifest's fields.

    Args:
        task: the task's section.
        name: the task's name, on which the choice of rows depends.
        table: the combined sources, all cells text.

    Returns:
        The table of the task, all cells text.

    Raises:
        TaskError: a step names a column that the table does not have, or leaves no rows.
    """
    table = table.drop(columns=[c for c in ROW_NAMES if c in table and c not in task.rename])
    if task.rename:
        require(table, task.rename, "rename")
        table = table.rename(columns=task.rename)
    if task.windows:
        table = name_windows(table, task.windows, task.targets)
    for column, form in task.dates.items():
        require(table, [column], "dates")
        table = table.assign(**{column: moments(table[column], form)})
    for column, condition in task.where.items():
        require(table, [column], "where")
        table = table[meets(table[column], condition)]
    for column, length in task.cut.items():
        require(table, [column], "cut")
        table = table.assign(**{column: table[column].str.slice(0, length)})
    for column, values in task.map.items():
        require(table, [column], "map")
        table = table.assign(**{column: table[column].map(lambda v, to=values: to.get(v, v))})
    if task.distinct:
        require(table, task.distinct, "distinct")
        table = table.drop_duplicates(list(task.distinct), keep=False)
    require(table, task.drop, "drop")
    table = table.drop(columns=list(task.drop))
    if task.keep:
        require(table, task.keep, "keep")
        table = table[list(task.keep)]
    require(table, task.targets, "target")
    require(table, [task.event] if task.event else [], "event")
    table = table[(table[list(task.targets)] != "").all(axis=1)].reset_index(drop=True)
    if task.rare:
        table = without_rare_classes(table, task.targets[0], task.rare.do, task.rare.below)
    if task.rows and len(table) > task.rows:
        table = choose_rows(table, task, name)
    if table.empty:
        raise TaskError(f"the steps of {name} leave no row")
    return table.reset_index(drop=True)


def require(table: "pd.DataFrame", columns: "Sequence[str] | dict[str, str]", step: str) -> None:
    """Raise `TaskError` if a step names a column that the table does not have."""
    for column in columns:
        if column not in table:
            found = ", ".join(map(str, table.columns[:20]))
            raise TaskError(f"{step}: there is no column {column!r}; the table has {found}")


def name_windows(table: "pd.DataFrame", channel: str, targets: Sequence[str]) -> "pd.DataFrame":
    """Name samples of series `CHANNEL_0000 …`; the label and the targets keep their names."""
    samples = [column for column in table if column not in (LABEL, *targets)]
    if "_" not in str(samples[0]) or not str(samples[0]).rpartition("_")[2].isdigit():
        names = {old: f"{channel}_{number:04}" for number, old in enumerate(samples)}
    else:
        names = {old: channel + str(old).removeprefix("x") for old in samples}
    return table.rename(columns=names)


def moments(column: "pd.Series[str]", form: str) -> "pd.Series[str]":
    """Return moments as ISO 8601: dates without a time where all times are midnight."""
    import pandas as pd

    filled = column.where(column != "")
    try:
        if form == "year":
            years = pd.to_numeric(filled)
            whole = years // 1
            start = pd.to_datetime(whole.astype("Int64").astype(str), format="%Y")
            days = 365 + start.dt.is_leap_year.astype(int)
            times = start + pd.to_timedelta(((years - whole) * days).round(), unit="D")
        elif form == "month":  # 1998 M02, 1998 Feb
            times = pd.to_datetime(
                filled.str.replace(r"\s+(?:M(?=\d))?", "-", n=1, regex=True), format="mixed"
            )
        elif form == "quarter":  # 1998 Q1
            times = pd.PeriodIndex(filled.str.replace(" ", ""), freq="Q").to_timestamp().to_series()
            times.index = column.index
        else:
            times = pd.to_datetime(filled, format=form)
    except (ValueError, TypeError) as error:
        raise TaskError(f"dates: {column.name!r} is not written as {form!r}: {error}") from error
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    has_times = bool((times.dropna() != times.dropna().dt.normalize()).any())
    return times.dt.strftime("%Y-%m-%d %H:%M:%S" if has_times else "%Y-%m-%d").fillna("")


def meets(column: "pd.Series[str]", condition: Condition) -> "pd.Series[bool]":
    """Return which cells meet a condition, shape (rows,)."""
    import pandas as pd

    kept = pd.Series(True, index=column.index)
    if condition.equals is not None:
        kept &= column.isin(condition.equals)
    if condition.differs is not None:
        kept &= ~column.isin(condition.differs)
    if condition.matches is not None:
        kept &= column.str.fullmatch(condition.matches)
    if condition.filled is not None:
        kept &= (column != "") == condition.filled
    if condition.at_least is not None or condition.at_most is not None:
        values = numbers(column)
        if values is None:
            raise TaskError(f"where: {column.name!r} holds other cells than numbers")
        if condition.at_least is not None:
            kept &= values >= condition.at_least
        if condition.at_most is not None:
            kept &= values <= condition.at_most
    return kept


def choose_rows(table: "pd.DataFrame", task: TaskSection, name: str) -> "pd.DataFrame":
    """Return at most the number of rows that a task wants.

    Whole groups at random where rows are split by group, the latest rows where they are split by
    time, else rows at random. The order of rows stays.
    """
    import numpy as np

    assert task.rows is not None
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    random = np.random.RandomState(seed)
    split = task.split
    if split is not None and split.time is not None:
        require(table, [split.time], "split")
        if split.group is not None:
            return latest_of_groups(table, split.group, split.time, task.rows)
        return table.iloc[sorted(latest(table[split.time], task.rows))]
    group = (split.group or split.family) if split is not None else None
    if group is not None:
        require(table, [group], "split")
        sizes = table.groupby(group).size().sort_index()
        drawn = sizes.iloc[random.permutation(len(sizes))]
        kept = drawn.index[drawn.cumsum() <= task.rows]
        return table[table[group].isin(kept)]
    return table.iloc[np.sort(random.permutation(len(table))[: task.rows])]


def latest_of_groups(table: "pd.DataFrame", group: str, time: str, count: int) -> "pd.DataFrame":
    """Return the latest rows of each group, the same share of each."""
    import pandas as pd

    require(table, [group], "split")
    times = pd.Series(times_of(table[time]), index=table.index)
    ranks = times.groupby(table[group]).rank(method="first", pct=True)
    return table[ranks.to_numpy(dtype=float) > 1 - count / len(table)]


def latest(column: "pd.Series[str]", count: int) -> "np.ndarray":
    """Return the positions of the latest rows."""
    import numpy as np

    return np.argsort(times_of(column), kind="stable")[-count:]


def times_of(column: "pd.Series[str]") -> "np.ndarray":
    """Return numbers as they are, and moments as an array that orders like them, shape (rows,)."""
    import numpy as np
    import pandas as pd

    values = numbers(column)
    if values is not None:
        return values
    return np.asarray(pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_localize(None))
