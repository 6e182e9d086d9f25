"""Values of many kinds for the columns of a synthetic table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

Column = list[object]
Kind = Callable[[Random, int], Column]
"""Makes a column: a generator of random numbers and a number of rows."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The kinds of the true and of the submitted values."""

    name: str
    truth: Kind
    guess: Kind
    is_row_wise: bool = False
    """Whether all target columns of a row belong together: one of them is 1, or they sum to 1."""


def choice(values: Sequence[object]) -> Kind:
    """Return a kind that draws from some values; each is drawn once if there are enough rows."""

    def draw(random: Random, rows: int) -> Column:
        column = [*values, *(random.choice(values) for _ in range(rows))][:rows]
        random.shuffle(column)
        return column

    return draw


def number(low: float, high: float) -> Kind:
    """Return a kind of random numbers."""
    return lambda random, rows: [round(random.uniform(low, high), 6) for _ in range(rows)]


def several(kind: Kind, low: int, high: int, separator: str = " ") -> Kind:
    """Return a kind that joins some values of another kind."""

    def draw(random: Random, rows: int) -> Column:
        return [
            separator.join(dict.fromkeys(map(str, kind(random, random.randint(low, high)))))
            for _ in range(rows)
        ]

    return draw


def shuffled(values: Sequence[str], separator: str = " ") -> Kind:
    """Return a kind of permutations."""
    return lambda random, rows: [
        separator.join(random.sample(values, len(values))) for _ in range(rows)
    ]


def runs(random: Random, rows: int) -> Column:
    """Return run-length encodings: start and length of rising, separate runs."""
    column: Column = []
    for _ in range(rows):
        starts = sorted(random.sample(range(1, 200, 12), random.randint(1, 4)))
        column.append(" ".join(f"{start} {random.randint(1, 9)}" for start in starts))
    return column


def rectangles(*, label: str = "", score: bool = True, corners: bool = False) -> Kind:
    """Return a kind of one to three rectangles: label, score, x, y, and width, height or x, y."""

    def draw(random: Random, rows: int) -> Column:
        return [
            " ".join(one(random, label) for _ in range(random.randint(1, 3))) for _ in range(rows)
        ]

    def one(random: Random, label: str) -> str:
        x, y = random.randint(0, 60), random.randint(0, 60)
        wide, high = random.randint(5, 30), random.randint(5, 30)
        parts = [label] if label else []
        parts += [f"{random.random():.3f}"] if score else []
        parts += [str(x), str(y), str(x + wide if corners else wide)]
        return " ".join([*parts, str(y + high if corners else high)])

    return draw


WORDS = ("time", "year", "people", "way", "day", "man", "thing", "life", "child", "world", "state")
binary = choice((0, 1))
probability = number(0, 1)
text = several(choice(WORDS), 3, 8)
small = choice((0, 1, 2, 3, 4))
letters = choice(("a", "b", "c"))


def pairs(classes: Sequence[Sequence[str]], examples: Sequence[str]) -> Iterator[Pair]:
    """Yield pairs of kinds, the likeliest first.

    Args:
        classes: lists of strings in the grader's source, which can be names of classes.
        examples: the submitted values that a description shows.
    """

    def same(name: str, kind: Kind) -> Pair:
        return Pair(name=name, truth=kind, guess=kind)

    yield Pair(name="probabilities of 0 and 1", truth=binary, guess=probability)
    yield Pair(name="probabilities by row", truth=binary, guess=probability, is_row_wise=True)
    yield same("small whole numbers", small)
    yield same("0 and 1", binary)
    yield same("positive numbers", number(0.1, 90))
    yield same("whole numbers from 1", choice(tuple(range(1, 9))))
    for names in classes:
        if len(names) <= 60:
            yield same("classes of the source", choice(names))
            yield same("several classes", several(choice(names), 1, 4))
    yield same("class names", letters)
    yield same("True and False", choice((True, False)))
    yield same("texts", text)
    yield same("permutations", shuffled(("a1", "b2", "c3", "d4", "e5")))
    yield same("permutations of numbers", shuffled("12345"))
    yield same("several whole numbers", several(choice(tuple(range(9))), 1, 4))
    yield Pair(name="ranked lists", truth=choice(range(9)), guess=several(choice(range(9)), 3, 5))
    yield Pair(name="ranked names", truth=letters, guess=several(letters, 2, 3))
    yield same("run-length codes", runs)
    if examples:
        yield same("the description's values", choice(examples))
        for kind in (binary, small, number(0.1, 90), letters):
            yield Pair(name="the description's guesses", truth=kind, guess=choice(examples))
    yield same("fractions", probability)
    yield same("numbers", number(-5, 5))
    yield same("large whole numbers", choice(tuple(range(1000, 1040))))
    for corners in (False, True):
        for label in ("", "0", "car"):
            truth = rectangles(label=label, score=False, corners=corners)
            guess = rectangles(label=label, corners=corners)
            yield Pair(name="rectangles", truth=truth, guess=guess)
            yield same("rectangles with scores", guess)
    yield same("dates", choice([f"2020-01-{day:02}" for day in range(1, 29)]))
    yield same("points", several(number(0, 90), 4, 4))
