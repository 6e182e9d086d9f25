"""Find ids, rows, texts and files that train.csv and test.csv share, exactly or nearly."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kernel_env.audit.task.finding import Finding, failed, not_applicable, not_run, ok
from kernel_env.audit.task.task_under_test import NO_SPLIT, TaskUnderTest
from kernel_env.authoring import similarity
from kernel_env.tasks.columns import numbers

DATE_PATTERN = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
"""The beginning of a timestamp in a table."""


def check_ids(subject: TaskUnderTest) -> list[Finding]:
    """Check that ids are unique, equal in test, sample and answers, and absent from train."""
    check = "ids"
    wanted = similarity.row_keys(subject.answers[subject.ids])
    if repeated := int(wanted.duplicated().sum()):
        return [
            failed(check, f"answers.csv has {repeated:,} repeated ids; give each test row its own")
        ]
    for name, table in (("sample_submission.csv", subject.sample), ("test.csv", subject.test)):
        if table is None:
            continue
        found = similarity.row_keys(table[subject.ids])
        missing, extra = set(wanted) - set(found), set(found) - set(wanted)
        if missing or extra or found.duplicated().any():
            return [
                failed(
                    check,
                    f"{name} lacks {len(missing):,} ids of answers.csv, has {len(extra):,} others"
                    f" and {int(found.duplicated().sum()):,} repeated ones; write the same ids to"
                    " both files",
                )
            ]
    if subject.test is None or subject.train is None:
        return [
            ok(check, "sample and answers have the same ids; there is no train.csv with a test.csv")
        ]
    both = set(similarity.row_keys(subject.train[subject.ids])) & set(wanted)
    if both:
        return [
            failed(
                check,
                f"{len(both):,} ids are in both train.csv and test.csv (for example"
                f" {min(both)!r}); number the rows before the split",
            )
        ]
    return [ok(check, f"{len(wanted):,} ids, equal in test, sample and answers, none in train")]


def check_rows(subject: TaskUnderTest) -> list[Finding]:
    """Check that no test row equals a training row in every feature, exactly or rounded."""
    exact, near = "rows", "near-duplicate rows"
    if subject.train is None or subject.test is None:
        return [not_applicable(c, NO_SPLIT) for c in (exact, near)]
    features = [c for c in subject.features if c not in subject.texts]
    if not features:
        kind = "texts" if subject.texts else "files"
        why = f"rows hold only {kind}, which another check compares"
        return [not_applicable(c, why) for c in (exact, near)]
    if subject.texts:
        why = "rows have a text, by which another check compares them"
        return [not_applicable(c, why) for c in (exact, near)]
    train, test = subject.train[features], subject.test[features]
    if pairs := duplicate_rows(train, test):
        if subject.task.file.domain == "time series" and not has_timestamps(subject):
            why = (
                f"{len(pairs):,} test rows equal a training row, which is possible in a time"
                " series without timestamps"
            )
            return [not_applicable(c, why) for c in (exact, near)]
        return [
            failed(
                exact,
                f"{len(pairs):,} of {len(test):,} test rows equal a training row in every feature"
                f" ({example_pair(subject, pairs)}); keep equal rows on one side of the split",
            )
        ]
    found = [
        ok(exact, f"none of {len(test):,} test rows equals one of {len(train):,} training rows")
    ]
    for digits in similarity.ROUNDING_DIGITS:
        rounded = similarity.round_tables(train, test, digits)
        pairs = duplicate_rows(*rounded)
        if not pairs:
            how = f"none after rounding fractions to {digits} digits and text to its words"
            return [*found, ok(near, how)]
        if similarity.exceeds_chance(len(pairs), similarity.expected_duplicates(*rounded)):
            how = f"after rounding fractions to {digits} digits and text to its words"
            return [
                *found,
                failed(
                    near,
                    f"{len(pairs):,} of {len(test):,} test rows equal a training row {how}"
                    f" ({example_pair(subject, pairs)}); keep such rows on one side of the split",
                ),
            ]
    return [
        *found,
        not_applicable(near, "rows have so few distinct values that duplicates occur by chance"),
    ]


def check_texts(subject: TaskUnderTest) -> list[Finding]:
    """Check that no text of test.csv is nearly equal to one of train.csv."""
    check = "near-duplicate texts"
    if not subject.texts:
        return [not_applicable(check, "no column holds sentences")]
    assert subject.train is not None
    assert subject.test is not None
    found = []
    for column in subject.texts:
        pairs = similarity.find_similar_texts(
            list(subject.train[column]), list(subject.test[column])
        )
        share = (
            f"{100 * similarity.MIN_SIMILARITY:.0f} % of the {similarity.PHRASE_WORDS}-word phrases"
        )
        if pairs:
            found.append(
                failed(
                    check,
                    f"{len(pairs):,} of {len(subject.test):,} test rows have a training row whose"
                    f" {column!r} shares {share} ({example_pair(subject, pairs)});"
                    " keep such texts on one side of the split",
                )
            )
        else:
            found.append(ok(check, f"no {column!r} in test and in train share {share}"))
    return found


def check_files(subject: TaskUnderTest) -> list[Finding]:
    """Check that no file of a test row has the bytes or the thumbnail of a training file."""
    same, similar = "files", "near-duplicate pictures"
    if not subject.files:
        return [not_applicable(c, "no column names public files") for c in (same, similar)]
    assert subject.train is not None
    assert subject.test is not None
    found = []
    for column, folder in subject.files.items():
        train, test = (
            [read_bytes(folder / name) for name in table[column]]
            for table in (subject.train, subject.test)
        )
        if pairs := find_duplicates(list(map(checksum, train)), list(map(checksum, test))):
            found.append(
                failed(
                    same,
                    f"{len(pairs):,} of {len(test):,} test files in {column!r} equal a training"
                    f" file ({example_pair(subject, pairs)}); keep equal files on one side of the"
                    " split",
                )
            )
            continue
        found.append(ok(same, f"no file in {column!r} is in both train and test"))
        try:
            train_pictures, test_pictures = (
                list(map(similarity.thumbnail, train)),
                list(map(similarity.thumbnail, test)),
            )
        except ImportError:
            found.append(not_run(similar, "pillow is not installed; run: pip install pillow"))
            continue
        size = f"{similarity.THUMBNAIL_PIXELS} × {similarity.THUMBNAIL_PIXELS} pixels"
        if None in train_pictures or None in test_pictures:
            found.append(not_applicable(similar, f"not all files in {column!r} are pictures"))
        elif pairs := find_duplicates(train_pictures, test_pictures):
            found.append(
                failed(
                    similar,
                    f"{len(pairs):,} of {len(test_pictures):,} test pictures in {column!r} equal a"
                    f" training picture reduced to {size} ({example_pair(subject, pairs)});"
                    " keep such pictures on one side of the split",
                )
            )
        else:
            found.append(
                ok(similar, f"no picture in {column!r}, reduced to {size}, is in train and test")
            )
    return found


def has_timestamps(subject: TaskUnderTest) -> bool:
    """Return whether a feature holds timestamps, so that rows of a time series are distinct."""
    assert subject.test is not None
    return any(
        numbers(subject.test[c]) is None and subject.test[c].str.match(DATE_PATTERN).mean() > 0.99
        for c in subject.features
    )


def duplicate_rows(train: pd.DataFrame, test: pd.DataFrame) -> list[tuple[int, int]]:
    """Return pairs of equal rows, (test row, train row)."""
    return find_duplicates(list(similarity.row_keys(train)), list(similarity.row_keys(test)))


def find_duplicates(train: Sequence[object], test: Sequence[object]) -> list[tuple[int, int]]:
    """Return pairs of equal values, (test index, first train index), one per test index."""
    first: dict[object, int] = {}
    for row, value in enumerate(train):
        first.setdefault(value, row)
    return [(row, first[value]) for row, value in enumerate(test) if value in first]


def example_pair(subject: TaskUnderTest, pairs: list[tuple[int, int]]) -> str:
    """Return the ids of the first pair, as text."""
    assert subject.train is not None
    assert subject.test is not None
    test_row, train_row = pairs[0]
    test_id = subject.test[subject.ids].iloc[test_row]
    train_id = subject.train[subject.ids].iloc[train_row]
    return f"for example ids {'/'.join(test_id)} and {'/'.join(train_id)}"


def read_bytes(path: Path) -> bytes:
    """Read a file; empty when it is missing."""
    return path.read_bytes() if path.is_file() else b""


def checksum(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()
