"""Does anything stand on both sides of the split: an id, a row, nearly a row, a text, a file?"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kernel_env.audit.task import permutation_test, similarity
from kernel_env.audit.task.finding import Finding, failed, not_applicable, not_run, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest
from kernel_env.tasks.columns import numbers

DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
"""How a moment begins in a table."""


def ids(case: TaskUnderTest) -> list[Finding]:
    """Each id once; those of test, sample and answers the same; none in train."""
    check = "ids"
    wanted = similarity.keys(case.answers[case.ids])
    if repeated := int(wanted.duplicated().sum()):
        return [
            failed(check, f"answers.csv has {repeated:,} ids twice; each test row needs its own")
        ]
    for name, table in (("sample_submission.csv", case.sample), ("test.csv", case.test)):
        if table is None:
            continue
        found = similarity.keys(table[case.ids])
        missing, extra = set(wanted) - set(found), set(found) - set(wanted)
        if missing or extra or found.duplicated().any():
            return [
                failed(
                    check,
                    f"{name} lacks {len(missing):,} ids of answers.csv, has {len(extra):,} that it"
                    f" does not know and {int(found.duplicated().sum()):,} twice; they must be the"
                    " same ids",
                )
            ]
    if case.test is None or case.train is None:
        return [
            ok(check, "sample and answers have the same ids; there is no train.csv beside test.csv")
        ]
    both = set(similarity.keys(case.train[case.ids])) & set(wanted)
    if both:
        return [
            failed(
                check,
                f"{len(both):,} ids are in train.csv and in test.csv (for example"
                f" {min(both)!r}); a row belongs to one side: number the rows before the split",
            )
        ]
    return [ok(check, f"{len(wanted):,} ids, the same in test, sample and answers, none in train")]


def rows(case: TaskUnderTest) -> list[Finding]:
    """No row of test.csv has all its features in common with one of train.csv."""
    exact, near = "rows", "near-duplicate rows"
    if case.train is None or case.test is None:
        return [not_applicable(c, "there is no train.csv beside test.csv") for c in (exact, near)]
    features = [c for c in case.features if c not in case.texts]
    if not features:
        what = "texts" if case.texts else "files"
        return [not_applicable(c, f"rows are {what}; see there") for c in (exact, near)]
    if case.texts:
        what = "rows with a text are compared by it"
        return [not_applicable(c, what) for c in (exact, near)]
    train, test = case.train[features], case.test[features]
    if twins := twins_of(train, test):
        if case.task.file.domain == "time series" and not has_moments(case):
            what = f"{len(twins):,} test rows equal a training row, as rows of a series without"
            return [not_applicable(c, f"{what} its moment may") for c in (exact, near)]
        return [
            failed(
                exact,
                f"{len(twins):,} of {len(test):,} test rows equal a training row in every feature"
                f" ({example(case, twins)}); keep equal rows on one side of the split",
            )
        ]
    found = [ok(exact, f"none of {len(test):,} test rows equals one of {len(train):,} in train")]
    for digits in similarity.DIGITS:
        fewer = similarity.coarse(train, test, digits)
        twins = twins_of(*fewer)
        if not twins:
            how = f"none with fractions at {digits} digits and text without marks"
            return [*found, ok(near, how)]
        if permutation_test.is_surprising(len(twins), similarity.chance_twins(*fewer)):
            how = f"once fractions are rounded to {digits} digits and text to its words"
            return [
                *found,
                failed(
                    near,
                    f"{len(twins):,} of {len(test):,} test rows equal a training row {how}"
                    f" ({example(case, twins)}); keep such rows on one side of the split",
                ),
            ]
    return [*found, not_applicable(near, "rows have so few values that chance makes twins")]


def texts(case: TaskUnderTest) -> list[Finding]:
    """No text of test.csv is nearly one of train.csv."""
    check = "near-duplicate texts"
    if not case.texts:
        return [not_applicable(check, "no column is written in sentences")]
    assert case.train is not None
    assert case.test is not None
    found = []
    for column in case.texts:
        twins = similarity.twin_texts(list(case.train[column]), list(case.test[column]))
        share = f"{100 * similarity.ALIKE:.0f} % of their phrases of {similarity.PHRASE} words"
        if twins:
            found.append(
                failed(
                    check,
                    f"{len(twins):,} of {len(case.test):,} test rows have a training row whose"
                    f" {column!r} shares {share} ({example(case, twins)}); keep such texts on one"
                    " side of the split",
                )
            )
        else:
            found.append(ok(check, f"no {column!r} in test and train shares {share}"))
    return found


def files(case: TaskUnderTest) -> list[Finding]:
    """No file of a test row is, or looks like, one of a training row."""
    same, similar = "files", "near-duplicate pictures"
    if not case.files:
        return [not_applicable(c, "no column names public files") for c in (same, similar)]
    assert case.train is not None
    assert case.test is not None
    found = []
    for column, folder in case.files.items():
        ours, theirs = (
            [content(folder / name) for name in table[column]] for table in (case.train, case.test)
        )
        if twins := twins_in(list(map(checksum, ours)), list(map(checksum, theirs))):
            found.append(
                failed(
                    same,
                    f"{len(twins):,} of {len(theirs):,} test files in {column!r} have the bytes of"
                    f" a training file ({example(case, twins)}); keep equal files on one side",
                )
            )
            continue
        found.append(ok(same, f"no file in {column!r} is in train and in test"))
        try:
            small, others = (
                list(map(similarity.reduced, ours)),
                list(map(similarity.reduced, theirs)),
            )
        except ImportError:
            found.append(not_run(similar, "pillow is not installed; pip install pillow"))
            continue
        if None in small or None in others:
            found.append(not_applicable(similar, f"not all files in {column!r} are pictures"))
        elif twins := twins_in(small, others):
            found.append(
                failed(
                    similar,
                    f"{len(twins):,} of {len(others):,} test pictures in {column!r} look like a"
                    f" training picture at {similarity.SIDE} × {similarity.SIDE} pixels"
                    f" ({example(case, twins)}); keep such pictures on one side",
                )
            )
        else:
            size = f"{similarity.SIDE} × {similarity.SIDE} pixels"
            found.append(ok(similar, f"no picture in {column!r} is in train and test at {size}"))
    return found


def has_moments(case: TaskUnderTest) -> bool:
    """Whether some feature is a moment, so that no two rows of a series need be equal."""
    assert case.test is not None
    return any(
        numbers(case.test[c]) is None and case.test[c].str.match(DATE).mean() > 0.99
        for c in case.features
    )


def twins_of(train: pd.DataFrame, test: pd.DataFrame) -> list[tuple[int, int]]:
    """Rows of test and of train that are equal."""
    return twins_in(list(similarity.keys(train)), list(similarity.keys(test)))


def twins_in(train: Sequence[object], test: Sequence[object]) -> list[tuple[int, int]]:
    """Places of test and of train where the same thing stands, one for each place of test."""
    first: dict[object, int] = {}
    for row, one in enumerate(train):
        first.setdefault(one, row)
    return [(row, first[one]) for row, one in enumerate(test) if one in first]


def example(case: TaskUnderTest, twins: list[tuple[int, int]]) -> str:
    """The first pair by its ids."""
    assert case.train is not None
    assert case.test is not None
    row, other = twins[0]
    one, two = case.test[case.ids].iloc[row], case.train[case.ids].iloc[other]
    return f"for example ids {'/'.join(one)} and {'/'.join(two)}"


def content(path: Path) -> bytes:
    """A file's bytes; none when it is missing."""
    return path.read_bytes() if path.is_file() else b""


def checksum(data: bytes) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(data).hexdigest()
