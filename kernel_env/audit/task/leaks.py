"""Find public data that reveals the answers: a file, a column, the row order or the ids.

The order of shuffled rows carries no information. The row order, the ids and the file times must
therefore not predict the answers better than chance (see `permutation_test`). Rows sorted by a
column that agents see, such as the time of a time series, reveal nothing new.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from kernel_env.audit.task import permutation_test
from kernel_env.audit.task.finding import Finding, failed, not_applicable, ok
from kernel_env.audit.task.task_under_test import (
    NO_SPLIT,
    TaskUnderTest,
    encode_target,
    read_table,
)
from kernel_env.authoring import similarity
from kernel_env.tasks.columns import numbers

MAX_ERROR_REDUCTION = 0.98
"""Share of the best constant's error above which a single column determines the answer."""
SUSPICIOUS_ERROR_REDUCTION = 0.8
"""Share of the error from which a column is named to the author."""
PAIRED_COLUMNS = 8
"""Columns that are tried in pairs."""
NumericColumn = tuple[str, np.ndarray, np.ndarray]
"""What a column is called, and its values in train and test, shape (rows,) each."""
COMBINATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "+": np.add,
    "-": np.subtract,
    "times": np.multiply,
    "/": np.divide,
}
PERIODS = (2, 3, 5, 7, 10)
"""Moduli by which row numbers and ids become features; they find rows assigned in turn."""
NEIGHBOURS = 5
"""Neighbours of the nearest-neighbours model."""
MIN_LEAF_ROWS = 20
"""Fewest training rows in a leaf of the tree."""


def check_public_files(subject: TaskUnderTest) -> list[Finding]:
    """Check that no public table has a column that equals the answers, and test.csv no target."""
    check = "public files"
    count = 0
    for path in sorted(subject.public.rglob("*.csv")):
        name = str(path.relative_to(subject.public))
        table = read_table(path)
        count += 1
        if name == "test.csv" and (revealed := [t for t in subject.hidden if t in table]):
            return [failed(check, f"test.csv has the target {revealed[0]!r}; remove that column")]
        if name == "train.csv" or not set(subject.ids) <= set(table):
            continue
        both = table.drop_duplicates(subject.ids).merge(
            subject.answers, on=subject.ids, suffixes=("", " (answer)")
        )
        for target in subject.targets:
            answer = both.get(f"{target} (answer)", both[target])
            for column in [c for c in table if c not in subject.ids]:
                if (
                    len(both)
                    and error_reduction_by_copying(subject, both[column], answer)
                    >= MAX_ERROR_REDUCTION
                ):
                    return [
                        failed(
                            check,
                            f"column {column!r} of the public file {name} holds the answers"
                            f" for {target!r}; remove that column",
                        )
                    ]
    return [ok(check, f"no column of {count} public tables holds the answers")]


def error_reduction_by_copying(
    subject: TaskUnderTest, column: "pd.Series[str]", answer: "pd.Series[str]"
) -> float:
    """Return the error reduction, up to 1, of a column that is submitted as the answers."""
    amounts, values = numbers(answer), numbers(column)
    if not subject.is_classification and amounts is not None:
        if values is None or np.isnan(values).any():
            return 0.0
        return permutation_test.error_reduction(
            values, permutation_test.best_constant(amounts), amounts
        )
    if amounts is not None and values is not None:  # "1.0" and "1" are the same class
        column, answer = pd.Series(values).map("{:g}".format), pd.Series(amounts).map("{:g}".format)
    codes, _ = pd.factorize(pd.concat([answer, column], ignore_index=True))
    truth = codes[: len(answer)]
    return permutation_test.error_reduction(
        codes[len(answer) :], permutation_test.best_constant(truth), truth
    )


def check_columns(subject: TaskUnderTest) -> list[Finding]:
    """Check that no column, and no pair of columns, learned on train, determines the answers.

    Pairs are made of the columns that say most by themselves. Each pair is tried as one column in
    several ways: sum, difference, product and ratio of numbers, and the two cells together.
    """
    single, pair = "leak columns", "leak pairs"
    if subject.train is None or subject.test is None:
        return [not_applicable(check, NO_SPLIT) for check in (single, pair)]
    positions = row_positions(subject.test, subject)
    columns = [(name, train, test[positions]) for name, train, test in numeric_columns(subject)]
    found, tried, strongest = [], 0, ("", 0.0)
    for target in subject.targets:
        both = pd.concat([subject.train[target], subject.truth[target]], ignore_index=True)
        amounts = None if subject.is_classification else numbers(both)
        values = pd.factorize(both, sort=True)[0].astype(np.int64) if amounts is None else amounts
        answers, truth = values[: len(subject.train)], values[len(subject.train) :]
        told = [
            permutation_test.column_error_reduction(train, answers, test, truth)
            for _, train, test in columns
        ]
        best = int(np.argmax(told)) if told else -1
        if told and told[best] >= MAX_ERROR_REDUCTION:
            return [
                failed(single, determines(columns[best][0], target, told[best])),
                not_applicable(pair, "a single column determines the target"),
            ]
        if told and told[best] > strongest[1]:
            strongest = columns[best][0], told[best]
        first = np.argsort(told, kind="stable")[::-1][:PAIRED_COLUMNS]
        for one, other in combinations([columns[n] for n in first], 2):
            for how, train, test in combined(one, other):
                tried += 1
                reduction = permutation_test.column_error_reduction(train, answers, test, truth)
                if reduction >= MAX_ERROR_REDUCTION:
                    found.append(failed(pair, determines(how, target, reduction)))
    why = f"none of {len(columns)} columns determines the target"
    if strongest[1] >= SUSPICIOUS_ERROR_REDUCTION:
        why += (
            f"; {strongest[0]} removes {100 * strongest[1]:.0f} % of the best constant's error:"
            " look whether it is known before the answer is"
        )
    pairs_fine = ok(pair, f"none of {tried} combinations of two columns determines the target")
    if len(columns) < 2:
        pairs_fine = not_applicable(pair, "there are no two columns")
    return [ok(single, why), *(found[:1] or [pairs_fine])]


def determines(what: str, target: str, reduction: float) -> str:
    """Return what is wrong with columns that determine a target, and what to do."""
    return (
        f"{what} determines {target!r}: learned from train.csv, it removes {100 * reduction:.1f} %"
        " of the best constant's error, expected less than"
        f" {100 * MAX_ERROR_REDUCTION:.0f} %; remove that column"
    )


def combined(one: NumericColumn, other: NumericColumn) -> Iterator[NumericColumn]:
    """Yield two columns as one in several ways: what was done, and its train and test values."""
    (name, *values), (other_name, *others) = one, other
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for sign, function in COMBINATIONS.items():
            train, test = (function(a, b) for a, b in zip(values, others, strict=True))
            yield f"{name} {sign} {other_name}", finite(train), finite(test)
    pairs = [pd.Series(list(zip(a, b, strict=True))) for a, b in zip(values, others, strict=True)]
    codes, known = pd.factorize(pairs[0])
    if len(known) <= len(codes) / MIN_LEAF_ROWS:
        code = pd.Series(range(len(known)), index=known, dtype=float)
        test = pairs[1].map(code).to_numpy(dtype=float)
        yield f"{name} with {other_name}", codes.astype(float), test


def finite(values: np.ndarray) -> np.ndarray:
    """Return numbers in which infinite ones are missing, shape (rows,)."""
    return np.where(np.isfinite(values), values, np.nan)


def row_positions(table: pd.DataFrame, subject: TaskUnderTest) -> np.ndarray:
    """Return the row number in a table of each row of `truth`, shape (rows,)."""
    rows = pd.Series(range(len(table)), index=similarity.row_keys(table[subject.ids]))
    return rows.loc[similarity.row_keys(subject.truth[subject.ids])].to_numpy()


def numeric_columns(subject: TaskUnderTest) -> Iterator[NumericColumn]:
    """Yield each column as numbers: its name, its train and test values of shape (rows,) each."""
    assert subject.train is not None
    assert subject.test is not None
    for column in subject.features:
        train, test = numbers(subject.train[column]), numbers(subject.test[column])
        if train is not None and test is not None:
            yield f"the column {column!r}", train, test
            continue
        codes, known = pd.factorize(subject.train[column])
        code = pd.Series(range(len(known)), index=known, dtype=float)
        test = subject.test[column].map(code).to_numpy(dtype=float)  # NaN: a value not in train
        yield f"the column {column!r}", codes.astype(float), test
        if column in subject.texts:
            lengths = [
                table[column].str.len().to_numpy(dtype=float)
                for table in (subject.train, subject.test)
            ]
            yield f"the length of {column!r}", lengths[0], lengths[1]
    for column, folder in subject.files.items():
        sizes = [
            np.array([file_size(folder / name) for name in table[column]])
            for table in (subject.train, subject.test)
        ]
        yield f"the size of the files in {column!r}", sizes[0], sizes[1]


def check_order(subject: TaskUnderTest) -> list[Finding]:
    """Check that neither the row order nor the ids predict the answers."""
    checks = "order of rows", "ids as features"
    if subject.train is None or subject.test is None or len(subject.truth) < 2:
        return [not_applicable(check, NO_SPLIT) for check in checks]
    if sorted_by := sort_columns(subject.test, subject.features):
        why = f"test.csv is sorted by {' and '.join(map(repr, sorted_by))}, which agents see"
        own_order = not sort_columns(subject.test, subject.ids)
        return [
            not_applicable(checks[0], why),
            check_ids_as_features(subject, row_numbers=False)
            if own_order
            else not_applicable(checks[1], why),
        ]
    return [check_row_order(subject), check_ids_as_features(subject)]


def sort_columns(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Return the column, or the two columns, by which a table is sorted; empty when unsorted."""
    steps = {column: rises_and_falls(table[column]) for column in columns}
    for column, (rise, fall) in steps.items():
        if (not fall.any() or not rise.any()) and table[column].nunique() > 2:
            return [column]
    for first, (rise, fall) in steps.items():
        changes = rise | fall
        # Equal values of the first column are contiguous.
        if changes.sum() + 1 == table[first].nunique() < len(table) / 2:
            for second, (up, down) in steps.items():
                within = down & ~changes
                if second != first and up.any() and not within.any():
                    return [first, second]
    return []


def rises_and_falls(column: "pd.Series[str]") -> tuple[np.ndarray, np.ndarray]:
    """Return where the next value is greater and where it is less, shape (rows - 1,) each."""
    values = numbers(column)
    if values is None:
        values = pd.factorize(column, sort=True)[0].astype(float)
    values = np.nan_to_num(values, nan=-1e300)
    return values[1:] > values[:-1], values[1:] < values[:-1]


def check_row_order(subject: TaskUnderTest) -> Finding:
    """Check that answers of consecutive test rows are no more similar than random pairs."""
    check = "order of rows"
    for target in subject.targets:
        answers = encode_target(subject, target)["truth"]
        for name, positions in visible_orders(subject):
            found = permutation_test.neighbour_similarity(answers[positions])
            if not found.is_chance:
                return failed(
                    check,
                    f"in {name}, consecutive rows have similar answers for {target!r}: none of"
                    f" {found.permutations:,} random orders is as similar (p = {found.p:.4f});"
                    " shuffle the rows before numbering and writing them",
                )
    return ok(check, "consecutive answers are no more similar than in a random order")


def visible_orders(subject: TaskUnderTest) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each distinct order that agents see: its name and row numbers of `truth`."""
    keys = pd.Series(
        range(len(subject.truth)), index=similarity.row_keys(subject.truth[subject.ids])
    )
    seen = set()

    def if_new(name: str, positions: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        if positions.tobytes() not in seen:
            seen.add(positions.tobytes())
            yield name, positions

    yield from if_new("test.csv", np.arange(len(subject.truth)))
    sample_order = keys.reindex(similarity.row_keys(subject.sample[subject.ids])).dropna()
    yield from if_new("sample_submission.csv", sample_order.to_numpy(dtype=np.int64))
    id_column = subject.truth[subject.ids[0]]
    values = numbers(id_column)
    by_id = np.argsort(id_column.to_numpy() if values is None else values, kind="stable")
    yield from if_new("the order of ids", by_id.astype(np.int64))
    for column, folder in subject.files.items():
        assert subject.test is not None
        paths = subject.test[column].iloc[row_positions(subject.test, subject)]
        times = np.array([modification_time(folder / name) for name in paths])
        if len(np.unique(times)) > len(times) / 2:
            by_time = np.argsort(times, kind="stable").astype(np.int64)
            yield from if_new(f"the modification times of the files in {column!r}", by_time)


def check_ids_as_features(subject: TaskUnderTest, *, row_numbers: bool = True) -> Finding:
    """Check that models trained only on row numbers and ids predict no better than chance.

    Args:
        subject: the task.
        row_numbers: whether row numbers are features. False when the rows are sorted by a column
            that agents see: their order is public then.
    """
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.tree import DecisionTreeRegressor

    check = "ids as features"
    assert subject.train is not None
    train, test = (
        id_features(subject.train, subject.ids, row_numbers),
        id_features(subject.truth, subject.ids, row_numbers),
    )
    models = {
        "decision tree": DecisionTreeRegressor(min_samples_leaf=MIN_LEAF_ROWS, random_state=0),
        "nearest neighbours": KNeighborsRegressor(min(NEIGHBOURS, len(train))),
    }
    for target in subject.targets:
        answers = encode_target(subject, target)
        for name, model in models.items():
            used = slice(0, 1) if name == "nearest neighbours" else slice(None)
            predicted = model.fit(train[:, used], answers["train"]).predict(test[:, used])
            found = permutation_test.agreement(predicted.reshape(len(test), -1), answers["truth"])
            if not found.is_chance:
                return failed(
                    check,
                    f"row numbers and ids alone predict {target!r} better than chance ({name}):"
                    f" none of {found.permutations:,} random orders of the answers agrees as well"
                    f" (p = {found.p:.4f}); shuffle the rows before numbering them",
                )
    return ok(check, "row numbers and ids alone predict no better than chance")


def id_features(table: pd.DataFrame, ids: list[str], row_numbers: bool) -> np.ndarray:
    """Return row numbers and ids as features, shape (rows, features); the first id comes first."""
    columns: list[np.ndarray] = []
    for column in ids:
        values = numbers(table[column])
        if values is None:
            digits = table[column].str.extract(r"(\d+)")[0].astype(float)
            prefix = table[column].map(lambda text: int.from_bytes(text.encode()[:6].ljust(6)))
            values = digits.fillna(prefix).to_numpy(dtype=float)
        values = np.nan_to_num(values)
        columns += [values, *(values % n for n in PERIODS)]
        columns.append(table[column].str.len().to_numpy(dtype=float))
    if row_numbers:
        row = np.arange(len(table))
        columns += [row / len(table), *(row % n for n in PERIODS)]
    return np.column_stack(columns).astype(float)


def file_size(path: Path) -> float:
    """Return a file's size in bytes; NaN when it is missing."""
    return float(path.stat().st_size) if path.is_file() else float("nan")


def modification_time(path: Path) -> int:
    """Return a file's modification time in nanoseconds; 0 when it is missing."""
    return path.stat().st_mtime_ns if path.is_file() else 0
