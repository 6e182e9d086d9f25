"""Do public files give the answers away: a file that holds them, a column, the order, the ids?

A task's order means nothing where its rows were shuffled. So whatever the order of rows, the
ids or the times of files say about the answers must be what chance would say (see `chance`).
Where rows stand in the order of a column that agents see, as those of a time series do,
there is nothing to give away.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from kernel_env.audit.task import permutation_test, similarity
from kernel_env.audit.task.finding import Finding, failed, not_applicable, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest, encoded, read
from kernel_env.tasks.columns import numbers

DETERMINES = 0.98
"""Share of the constant's error that a column takes away when it all but is the answer."""
PERIODS = (2, 3, 5, 7, 10)
"""Remainders of row numbers and ids that a model is shown: rows dealt out in turn."""
NEIGHBOURS = 5
LEAF = 20
"""Training rows in a leaf of the tree, at the least."""


def public_files(case: TaskUnderTest) -> list[Finding]:
    """No public table has a column that is the answers, and none but train.csv the targets."""
    check = "public files"
    seen = 0
    for path in sorted(case.public.rglob("*.csv")):
        name = str(path.relative_to(case.public))
        table = read(path)
        seen += 1
        if name == "test.csv" and (given := [t for t in case.targets if t in table]):
            return [
                failed(check, f"test.csv has the target {given[0]!r}; leave it out of test.csv")
            ]
        if name == "train.csv" or not set(case.ids) <= set(table):
            continue
        both = table.drop_duplicates(case.ids).merge(
            case.answers, on=case.ids, suffixes=("", " (answer)")
        )
        for target in case.targets:
            answer = both.get(f"{target} (answer)", both[target])
            for column in [c for c in table if c not in case.ids]:
                if len(both) and removed_by_copying(case, both[column], answer) >= DETERMINES:
                    return [
                        failed(
                            check,
                            f"the column {column!r} of the public file {name} holds the answers"
                            f" for {target!r}; leave it out",
                        )
                    ]
    return [ok(check, f"no column of {seen} public tables holds the answers")]


def removed_by_copying(
    case: TaskUnderTest, said: "pd.Series[str]", answer: "pd.Series[str]"
) -> float:
    """How much of the constant answer's error goes when the column is taken for the answers."""
    amounts, values = numbers(answer), numbers(said)
    if not case.is_classes and amounts is not None:
        if values is None or np.isnan(values).any():
            return 0.0
        return permutation_test.share_removed(values, permutation_test.typical(amounts), amounts)
    if amounts is not None and values is not None:  # 1.0 is the class 1
        said, answer = pd.Series(values).map("{:g}".format), pd.Series(amounts).map("{:g}".format)
    codes, _ = pd.factorize(pd.concat([answer, said], ignore_index=True))
    truth = codes[: len(answer)]
    return permutation_test.share_removed(
        codes[len(answer) :], permutation_test.typical(truth), truth
    )


def columns(case: TaskUnderTest) -> list[Finding]:
    """No single column determines the target: learned on train, tried on the hidden answers."""
    check = "leak columns"
    if case.train is None or case.test is None:
        return [not_applicable(check, "there is no train.csv beside test.csv")]
    places = places_of(case.test, case)
    tried = 0
    for target in case.targets:
        both = pd.concat([case.train[target], case.truth[target]], ignore_index=True)
        amounts = None if case.is_classes else numbers(both)
        values = pd.factorize(both, sort=True)[0].astype(np.int64) if amounts is None else amounts
        answers, truth = values[: len(case.train)], values[len(case.train) :]
        for name, ours, theirs in values_of(case):
            tried += 1
            removed = permutation_test.errors_removed(ours, answers, theirs[places], truth)
            if removed >= DETERMINES:
                return [
                    failed(
                        check,
                        f"{name} determines {target!r}: learned from train.csv, it takes away"
                        f" {100 * removed:.1f} % of the constant's error on the hidden answers"
                        f" ({100 * DETERMINES:.0f} % is too much); leave it out",
                    )
                ]
    return [ok(check, f"none of {tried} determines the target")]


def places_of(table: pd.DataFrame, case: TaskUnderTest) -> np.ndarray:
    """Where in a table the rows of `truth` stand."""
    where = pd.Series(range(len(table)), index=similarity.keys(table[case.ids]))
    return where.loc[similarity.keys(case.truth[case.ids])].to_numpy()


def values_of(case: TaskUnderTest) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What each column says as numbers, in train and test: its name, shapes (rows,)."""
    assert case.train is not None
    assert case.test is not None
    for column in case.features:
        ours, theirs = numbers(case.train[column]), numbers(case.test[column])
        if ours is not None and theirs is not None:
            yield f"the column {column!r}", ours, theirs
            continue
        codes, known = pd.factorize(case.train[column])
        place = pd.Series(range(len(known)), index=known, dtype=float)
        theirs = case.test[column].map(place).to_numpy(dtype=float)  # a value unknown in train: NaN
        yield f"the column {column!r}", codes.astype(float), theirs
        if column in case.texts:
            lengths = [
                table[column].str.len().to_numpy(dtype=float) for table in (case.train, case.test)
            ]
            yield f"the length of {column!r}", lengths[0], lengths[1]
    for column, folder in case.files.items():
        sizes = [
            np.array([size_of(folder / name) for name in table[column]])
            for table in (case.train, case.test)
        ]
        yield f"the size of the files in {column!r}", sizes[0], sizes[1]


def order(case: TaskUnderTest) -> list[Finding]:
    """The order of rows and the ids say nothing of the answers."""
    checks = "order of rows", "ids as features"
    if case.train is None or case.test is None or len(case.truth) < 2:
        return [not_applicable(check, "there is no train.csv beside test.csv") for check in checks]
    if sorted_by := ordered_by(case.test, case.features):
        said = f"test.csv is sorted by {' and '.join(map(repr, sorted_by))}, which agents see"
        own_order = not ordered_by(case.test, case.ids)
        return [
            not_applicable(checks[0], said),
            learned_from_ids(case, place=False) if own_order else not_applicable(checks[1], said),
        ]
    return [neighbours_in_order(case), learned_from_ids(case)]


def ordered_by(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """The column by which a table is sorted, or two of them, or none."""
    steps = {column: rises(table[column]) for column in columns}
    for column, (rise, fall) in steps.items():
        if (not fall.any() or not rise.any()) and table[column].nunique() > 2:
            return [column]
    for first, (rise, fall) in steps.items():
        changes = rise | fall
        if changes.sum() + 1 == table[first].nunique() < len(table) / 2:  # equal ones are together
            for second, (up, down) in steps.items():
                within = down & ~changes
                if second != first and up.any() and not within.any():
                    return [first, second]
    return []


def rises(column: "pd.Series[str]") -> tuple[np.ndarray, np.ndarray]:
    """Where the next cell is greater, and where it is less, shape (rows - 1,) each."""
    values = numbers(column)
    if values is None:
        values = pd.factorize(column, sort=True)[0].astype(float)
    values = np.nan_to_num(values, nan=-1e300)
    return values[1:] > values[:-1], values[1:] < values[:-1]


def neighbours_in_order(case: TaskUnderTest) -> Finding:
    """Test rows that follow each other have answers no more alike than any two."""
    check = "order of rows"
    for target in case.targets:
        answers = encoded(case, target)["truth"]
        for name, places in orders_of(case):
            found = permutation_test.likeness_of_neighbours(answers[places])
            if not found.explains:
                return failed(
                    check,
                    f"in {name}, rows that follow each other have like answers for {target!r}: none"
                    f" of {found.orders:,} random orders is as telling (p = {found.p:.4f}); shuffle"
                    " the rows before they are numbered and written",
                )
    return ok(check, "the answers stand in an order that tells no more than a random one")


def orders_of(case: TaskUnderTest) -> Iterator[tuple[str, np.ndarray]]:
    """The orders that agents see, as places in `truth`; each once."""
    keys = pd.Series(range(len(case.truth)), index=similarity.keys(case.truth[case.ids]))
    seen = set()

    def told(name: str, places: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        if places.tobytes() not in seen:
            seen.add(places.tobytes())
            yield name, places

    yield from told("test.csv", np.arange(len(case.truth)))
    given = keys.reindex(similarity.keys(case.sample[case.ids])).dropna()
    yield from told("sample_submission.csv", given.to_numpy(dtype=np.int64))
    id_column = case.truth[case.ids[0]]
    values = numbers(id_column)
    by_id = np.argsort(id_column.to_numpy() if values is None else values, kind="stable")
    yield from told("the order of ids", by_id.astype(np.int64))
    for column, folder in case.files.items():
        assert case.test is not None
        paths = case.test[column].iloc[places_of(case.test, case)]
        times = np.array([time_of(folder / name) for name in paths])
        if len(np.unique(times)) > len(times) / 2:
            by_time = np.argsort(times, kind="stable").astype(np.int64)
            yield from told(f"the times at which the files in {column!r} were written", by_time)


def learned_from_ids(case: TaskUnderTest, *, place: bool = True) -> Finding:
    """Models that know row numbers and ids alone, learned on train, guess no better than chance.

    Without `place`, ids alone: where a row stands is no secret then.
    """
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.tree import DecisionTreeRegressor

    check = "ids as features"
    assert case.train is not None
    ours, theirs = nameless(case.train, case.ids, place), nameless(case.truth, case.ids, place)
    models = {
        "a tree": DecisionTreeRegressor(min_samples_leaf=LEAF, random_state=0),
        "the nearest ids": KNeighborsRegressor(min(NEIGHBOURS, len(ours))),
    }
    for target in case.targets:
        answers = encoded(case, target)
        for name, model in models.items():
            only = slice(0, 1) if name == "the nearest ids" else slice(None)
            said = model.fit(ours[:, only], answers["train"]).predict(theirs[:, only])
            found = permutation_test.agreement(said.reshape(len(theirs), -1), answers["truth"])
            if not found.explains:
                return failed(
                    check,
                    f"{name}, learned from row numbers and ids alone, guesses {target!r} better"
                    f" than chance: none of {found.orders:,} random orders of the answers agrees"
                    f" with it as well (p = {found.p:.4f}); shuffle the rows, then number them",
                )
    return ok(check, f"{' and '.join(models)} guess from row numbers and ids as chance does")


def nameless(table: pd.DataFrame, ids: list[str], place: bool) -> np.ndarray:
    """What is known of rows without their features; the first id comes first."""
    columns: list[np.ndarray] = []
    for column in ids:
        values = numbers(table[column])
        if values is None:  # the digits in it, else its first letters
            digits = table[column].str.extract(r"(\d+)")[0].astype(float)
            letters = table[column].map(lambda text: int.from_bytes(text.encode()[:6].ljust(6)))
            values = digits.fillna(letters).to_numpy(dtype=float)
        values = np.nan_to_num(values)
        columns += [values, *(values % n for n in PERIODS)]
        columns.append(table[column].str.len().to_numpy(dtype=float))
    if place:
        row = np.arange(len(table))
        columns += [row / len(table), *(row % n for n in PERIODS)]
    return np.column_stack(columns).astype(float)


def size_of(path: Path) -> float:
    """A file's size; NaN when it is missing."""
    return float(path.stat().st_size) if path.is_file() else float("nan")


def time_of(path: Path) -> int:
    """When a file was written."""
    return path.stat().st_mtime_ns if path.is_file() else 0
