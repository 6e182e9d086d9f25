"""Find tables that a grader accepts, by trial, and make submissions from them."""

import csv
import io
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from support.originals import columns, values
from support.originals.columns import Header, Source
from support.originals.values import Column, Pair

ROWS = 40
REPAIRS = 12
TRIALS = 4000
SECONDS = 60
MANY = 3
"""An error that names as many columns names all targets: others were a guess."""
SURPLUS = re.compile(r"extra|unexpected|surplus", re.IGNORECASE)
SIZES = re.compile(r"width|height", re.IGNORECASE)

Score = Callable[[str, str], float]
"""Calls a grader with the texts of the answers and of a submission; raises what it raises."""


@dataclass(kw_only=True)
class Shape:
    """The columns of answers and of submissions."""

    answers: list[str]
    submission: list[str]
    targets: Sequence[str] = ()
    """Columns that are no ids, whatever their names."""
    narrower: list[str] = field(default_factory=list)
    """The columns of a submission to try once if a repaired one is rejected."""

    def narrow(self) -> bool:
        """Take the narrower submission, once. Returns whether anything has changed."""
        changed = bool(self.narrower) and self.narrower != self.submission
        self.submission, self.narrower = self.narrower or self.submission, []
        return changed


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Answers and submissions that a grader scores."""

    answers: str
    submissions: dict[str, str]
    how: str
    """What was found to be accepted."""
    scores: tuple[float, float]
    """Of the perfect and of the random submission; NaN if it was rejected."""

    @property
    def quality(self) -> int:
        """Return how much a comparison of scores can show."""
        finite = [score for score in self.scores if math.isfinite(score)]
        return len(finite) + (len(finite) == 2 and finite[0] != finite[1])


@dataclass(kw_only=True)
class Search:
    """The trials for one grader."""

    score: Score
    source: Source
    description: str
    best: Tables | None = None
    errors: list[str] = field(default_factory=list)
    """The last error of each kind of trial, for a report."""
    trials: int = 0

    def run(self) -> Tables | None:
        """Try headers, ids and values until a perfect and a random submission score differently."""
        end = time.process_time() + SECONDS
        for header in columns.headers(self.source, self.description):
            for ids in id_kinds(header):
                examples = [row[1] for row in header.rows if len(row) > 1]
                for pair in values.pairs(self.source.lists, examples):
                    if self.trials > TRIALS or time.process_time() > end:
                        return self.best
                    names = [*header.names]
                    shape = Shape(
                        answers=names, submission=[*names], narrower=[*names], targets=names[1:]
                    )
                    found = self.attempt(shape, ids, pair)
                    if found and (self.best is None or found.quality > self.best.quality):
                        self.best = found
                    if self.best and self.best.quality == 3:
                        return self.best
        return self.best

    def attempt(self, shape: Shape, ids: Column, pair: Pair) -> Tables | None:
        """Try one pair of kinds; repair the columns by what the errors name."""
        for _ in range(REPAIRS):
            answers, truth, guess = tables(shape, ids, pair)
            random_score, error = self.called(answers, guess)
            if error is None:
                perfect_score, _ = self.called(answers, truth)
                made = submissions(truth, guess)
                scores = (perfect_score, random_score)
                return Tables(answers=answers, submissions=made, how=pair.name, scores=scores)
            if not repair(shape, error, self.source) and not shape.narrow():
                perfect_score, _ = self.called(answers, truth)
                if math.isfinite(perfect_score):
                    made = submissions(truth, truth)
                    scores = (perfect_score, math.nan)
                    return Tables(answers=answers, submissions=made, how=pair.name, scores=scores)
                return None
        return None

    def called(self, answers: str, submission: str) -> tuple[float, Exception | None]:
        """Call the grader; return its finite score or the error."""
        self.trials += 1
        try:
            score = float(self.score(answers, submission))
        except Exception as error:  # noqa: BLE001 - graders raise anything
            self.errors = [*self.errors[-20:], f"{type(error).__name__}: {error}"[:300]]
            return math.nan, error
        if not math.isfinite(score):
            return math.nan, ValueError(f"the score is {score}")
        return score, None


def repair(shape: Shape, error: Exception, source: Source) -> bool:
    """Add the columns that an error names, or remove those that it calls surplus."""
    message = str(error)
    names = columns.wanted_names(message, source)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        names = names or columns.QUOTED.findall(error.args[0]) or [error.args[0]]
    changed = False
    if SURPLUS.search(message):
        surplus = re.split(r"[^\w./-]+", SURPLUS.split(message, maxsplit=1)[1].rstrip(". "))
        kept = [name for name in shape.submission if name not in surplus]
        changed = len(kept) != len(shape.submission)
        shape.submission = kept
        if shape.answers[0] in surplus:  # the header was wrong: another column is the key
            shape.answers = [name for name in shape.answers if name not in surplus]
            names.sort(key=lambda name: not columns.ID.search(name))
        names = [name for name in names if name not in surplus]
    if len(names) >= MANY and not set(names) <= {*shape.answers}:
        shape.answers, shape.submission = shape.answers[:1], shape.submission[:1]
    for side in (shape.answers, shape.submission):
        for name in names:
            if name not in side and len(side) < columns.MAX_COLUMNS:
                side.append(name)
                changed = True
    return changed and bool(shape.answers) and len(shape.submission) > 1


def id_kinds(header: Header) -> Iterator[Column]:
    """Yield columns of ids: like the description's, whole numbers, and texts."""
    for row in header.rows[:1]:
        first = row[0]
        digits = re.search(r"\d+(?=\D*$)", first)
        if digits:
            start, width = int(digits[0]), len(digits[0])
            yield [
                f"{first[: digits.start()]}{start + n:0{width}}{first[digits.end() :]}"
                for n in range(ROWS)
            ]
    yield list(range(1, ROWS + 1))
    yield [f"x{n:03}" for n in range(ROWS)]


def tables(shape: Shape, ids: Column, pair: Pair) -> tuple[str, str, str]:
    """Return the texts of the answers, and of a perfect and a random submission."""
    key = shape.answers[0]
    targets = [name for name in shape.answers if name != key]
    everything = [*targets, *(name for name in shape.submission if name not in shape.answers)]
    sides = []
    for kind, seed in ((pair.truth, 1), (pair.guess, 2)):
        if pair.is_row_wise and len(shape.submission) > 1:
            shared = [name for name in everything if name in shape.submission and name != key]
            side = rows_that_sum_to_one(shared, Random(seed), one_hot=seed == 1)
        else:
            side = {}
        for name in everything:
            if columns.ID.search(name) and name not in shape.targets:
                side[name] = ids
            elif SIZES.search(name):
                side[name] = [64] * len(ids)
            elif name == "Usage":
                side[name] = ["Public", "Private"] * (len(ids) // 2)
            elif name not in side:
                side[name] = kind(Random(f"{name}{seed}"), len(ids))
        sides.append({key: ids, **side})
    truth, guess = sides
    return (
        written(truth, shape.answers),
        *(written(side, shape.submission) for side in (truth, guess)),
    )


def rows_that_sum_to_one(
    names: Sequence[str], random: Random, *, one_hot: bool
) -> dict[str, Column]:
    """Return columns of which one is 1 in each row, or which sum to 1 exactly."""
    side: dict[str, Column] = {name: [] for name in names}
    for row in range(ROWS):
        parts = [0] * len(names)
        if one_hot:
            parts[row % len(names) if row < len(names) else random.randrange(len(names))] = 1000
        else:
            for _ in range(1000):
                parts[random.randrange(len(names))] += 1
        for name, part in zip(names, parts, strict=True):
            side[name].append(part // 1000 if one_hot else part / 1000)
    return side


def written(side: dict[str, Column], names: Sequence[str]) -> str:
    """Return some columns as the text of a CSV file."""
    key = next(iter(side))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(side.get(name, side[key]) for name in names), strict=True))
    return file.getvalue()


# ── submissions ───────────────────────────────────────────────────────────────────────────


def submissions(truth: str, guess: str) -> dict[str, str]:
    """Return submissions by name: those that can be scored, and some of a form that may not."""
    rows = list(csv.reader(io.StringIO(guess)))
    header, *body = rows
    shuffled = [*body]
    Random(4).shuffle(shuffled)
    blank = [row if number % 3 else [*row[:-1], ""] for number, row in enumerate(body)]
    words = [row if number % 3 else [*row[:-1], "seven words"] for number, row in enumerate(body)]
    return {
        "perfect": truth,
        "random": guess,
        "in another order": joined([header, *shuffled]),
        "without the last column": joined([row[:-1] for row in rows]),
        "without some rows": joined(rows[:-3]),
        "with other ids": joined([header, *([f"9{row[0]}", *row[1:]] for row in body)]),
        "with empty cells": joined([header, *blank]),
        "with words": joined([header, *words]),
        "with another column": joined([[*row, "0" if n else "more"] for n, row in enumerate(rows)]),
        "ragged": joined([header, *([*row, "1", "2"] for row in body[:1]), *body[1:]]),
    }


def joined(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as the text of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
