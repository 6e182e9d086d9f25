"""Tables of formats that no trial finds: what a few graders want is written down here."""

import json
from collections.abc import Callable, Sequence
from random import Random

from support.originals.mlagentbench_data import FIRST_TEST, SIDE, classes, masks
from support.originals.search import joined

Texts = tuple[str, str, str]
"""The answers, and a perfect and a random submission."""
Rows = list[list[object]]


def csv_texts(header: Sequence[str], make: Callable[[Random], Rows]) -> Texts:
    """Return tables whose answers and submissions have the same form."""
    tables = [joined([header, *make(Random(seed))]) for seed in (1, 1, 2)]
    return tables[0], tables[1], tables[2]


def cars() -> Texts:
    """Boxes in space: confidence, centre, size, yaw, class."""

    def rows(random: Random) -> Rows:
        where = Random(9)
        return [[f"t{n:02}", " ".join(box(random, where) for _ in range(2))] for n in range(12)]

    def box(random: Random, where: Random) -> str:
        centre = [where.randint(0, 90) + random.random() for _ in range(3)]
        numbers = [random.random(), *centre, 2.0, 4.5, 1.6, random.random() / 9]
        return " ".join([*(f"{it:.3f}" for it in numbers), "car"])

    return csv_texts(("Id", "PredictionString"), rows)


def fractures() -> Texts:
    """Seven vertebrae and the whole of each patient."""
    parts = ["patient_overall", *(f"C{n}" for n in range(1, 8))]
    random = Random(1)
    truth = [[f"p{n:02}_{part}", random.randint(0, 1)] for n in range(8) for part in parts]
    sides = [truth, truth, [[id_, round(random.random(), 4)] for id_, _ in truth]]
    texts = [joined([("row_id", "fractured"), *side]) for side in sides]
    return texts[0], texts[1], texts[2]


def vaccine() -> Texts:
    """Five targets of which three count, at the positions that the answers keep."""
    targets = ["reactivity", "deg_Mg_pH10", "deg_pH10", "deg_Mg_50C", "deg_50C"]

    def rows(seed: int) -> Rows:
        random = Random(seed)
        return [[f"id_{n:02}", *(round(random.random(), 4) for _ in targets)] for n in range(40)]

    answers = [[*row, n % 4 > 0] for n, row in enumerate(rows(1))]
    texts = [joined([["id_seqpos", *targets], *rows(seed)]) for seed in (1, 2)]
    return joined([["id_seqpos", *targets, "keep"], *answers]), texts[0], texts[1]


def questions() -> Texts:
    """A JSON object for each question; a long and a short answer are submitted."""
    random, lines, perfect = Random(1), [], []
    for n in range(20):
        start, short = random.randint(0, 50), n % 2
        long = {"start_token": start, "end_token": start + 9}
        answers = [{"start_token": start + 1, "end_token": start + 3}] * short
        notes = {"long_answer": long, "short_answers": answers}
        notes["yes_no_answer"] = "NONE" if short else "YES"  # type: ignore[assignment]
        lines.append(json.dumps({"example_id": f"q{n}", "annotations": [notes]}))
        perfect += [[f"q{n}_long", f"{start}:{start + 9}"]]
        perfect += [[f"q{n}_short", f"{start + 1}:{start + 3}" if short else "YES"]]
    header = ("example_id", "PredictionString")

    def guess(seed: int) -> str:
        draw = Random(seed)
        wrong = [[id_, draw.choice([text, "NO", "1:2", ""])] for id_, text in perfect]
        return joined([header, *wrong])

    return "\n".join(lines) + "\n", joined([header, *perfect]), guess(2)


def xrays() -> Texts:
    """Rectangles with a class; all of a picture are submitted in one cell."""
    random, answers, cells = Random(1), [], []
    for n in range(12):
        x, y, kind = random.randint(0, 50), random.randint(0, 50), n % 3
        answers.append([f"i{n:02}", kind, x, y, x + 20, y + 30])
        cells.append((f"i{n:02}", kind, x, y))

    def guess(seed: int) -> str:
        draw = Random(seed)
        rows = [
            [
                id_,
                f"{kind} {draw.random():.3f} {x + draw.randint(0, 9) * (seed > 1)} {y} {x + 20} {y + 30}",
            ]
            for id_, kind, x, y in cells
        ]
        return joined([("image_id", "PredictionString"), *rows])

    header = ("image_id", "class_id", "x_min", "y_min", "x_max", "y_max")
    return joined([header, *answers]), guess(1), guess(2)


def characters() -> Texts:
    """Characters with their rectangles; a point in each is submitted."""
    random, answers, points = Random(1), [], []
    for n in range(12):
        x, y = random.randint(0, 50), random.randint(0, 50)
        answers.append([f"p{n:02}", f"U+304B {x} {y} 20 20"])
        points.append((f"p{n:02}", x, y))

    def guess(seed: int) -> str:
        draw = Random(seed)
        rows = [
            [id_, f"U+304B {x + draw.randint(0, 60) if seed > 1 else x + 5} {y + 5}"]
            for id_, x, y in points
        ]
        return joined([("image_id", "labels"), *rows])

    return joined([("image_id", "labels"), *answers]), guess(1), guess(2)


def graphemes() -> Texts:
    """Three parts of each character, one in a row."""
    parts = ("grapheme_root", "consonant_diacritic", "vowel_diacritic")

    def rows(random: Random) -> Rows:
        return [[f"Test_{n}_{part}", random.randint(0, 3)] for n in range(15) for part in parts]

    return csv_texts(("row_id", "target"), rows)


def insults() -> Texts:
    """A score first, and the comment last; comments must be the same."""
    random = Random(1)
    rows = [[random.randint(0, 1), "2012", f"comment {n}"] for n in range(30)]
    guess = [[round(random.random(), 4), *row[1:]] for row in rows]
    header = ("Insult", "Date", "Comment")
    truth = joined([header, *rows])
    return truth, truth, joined([header, *guess])


def trips() -> Texts:
    """Positions at times of trips."""

    def rows(random: Random) -> Rows:
        places = [(n, round(37 + random.random() / 99, 6)) for n in range(30)]
        return [[f"day/phone{n % 3}", 1000 + n, there, -122.5] for n, there in places]

    header = ("tripId", "UnixTimeMillis", "LatitudeDegrees", "LongitudeDegrees")
    return csv_texts(header, rows)


def conditions() -> Texts:
    """One class for each person; a probability for each class is submitted."""
    random = Random(1)
    truth = [[f"p{n:02}", random.randint(0, 1)] for n in range(30)]
    perfect = [[id_, 1 - kind, kind] for id_, kind in truth]
    guess = [
        [id_, round(1 - there, 3), round(there, 3)]
        for id_, _ in truth
        for there in [random.random()]
    ]
    header = ("Id", "class_0", "class_1")
    return joined([("Id", "Class"), *truth]), joined([header, *perfect]), joined([header, *guess])


def contrails() -> Texts:
    """Masks as run-length codes, down the columns from 1."""

    def submission(seed: int) -> str:
        random = Random(seed)
        rows = [
            [name, f"{(start + random.randint(0, 40)) * SIDE + 1} {width * SIDE}"]
            if seed
            else [name, f"{start * SIDE + 1} {width * SIDE}"]
            for name, (start, width) in masks().items()
        ]
        return joined([("record_id", "encoded_pixels"), *rows])

    return "", submission(0), submission(1)


def papers() -> Texts:
    """The class of each node of the test, without ids."""
    truth, random = classes()[FIRST_TEST:], Random(3)
    guess = [kind if random.random() < 0.3 else 7 for kind in truth]
    sides = ([["class"], *([kind] for kind in side)] for side in (truth, guess))
    return ("", *map(joined, sides))


def toxicity() -> Texts:
    """Shares of raters, also of what a comment mentions; one column is submitted."""
    random = Random(1)
    truth = [[f"c{n:02}", *(round(random.random(), 2) for _ in range(3))] for n in range(40)]
    perfect = [[row[0], row[1]] for row in truth]
    guess = [[row[0], round(random.random(), 4)] for row in truth]
    header = ("id", "prediction")
    answers = joined([("id", "toxicity", "male", "female"), *truth])
    return answers, joined([header, *perfect]), joined([header, *guess])


TABLES: dict[str, Callable[[], Texts]] = {
    "mlagentbench/identify-contrails": contrails,
    "mlagentbench/ogbn-arxiv": papers,
    "mle-bench/3d-object-detection-for-autonomous-vehicles": cars,
    "mle-bench/kuzushiji-recognition": characters,
    "mle-bench/rsna-2022-cervical-spine-fracture-detection": fractures,
    "mle-bench/stanford-covid-vaccine": vaccine,
    "mle-bench/tensorflow2-question-answering": questions,
    "mle-dojo/bengaliai-cv19": graphemes,
    "mle-dojo/kuzushiji-recognition": characters,
    "mle-dojo/smartphone-decimeter-2022": trips,
    "mle-dojo/icr-identify-age-related-conditions": conditions,
    "mle-dojo/jigsaw-unintended-bias-in-toxicity-classification": toxicity,
    "mle-dojo/detecting-insults-in-social-commentary": insults,
    "mle-bench/vinbigdata-chest-xray-abnormalities-detection": xrays,
}
"""By benchmark and task."""
WITHOUT = {
    "mlagentbench/cifar10": "its pictures must have the MD5 that torchvision knows",
}
"""Tasks that no synthetic data can satisfy, and why."""
