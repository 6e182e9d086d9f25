"""Split the pictures of emoji into what the agent sees and what only the grader sees.

Many emoji are variants of one drawing: a man, a woman and a person who juggle, a heart
in ten colours, a clock at every half hour, flags of two countries that are the same.
Such a *family* never stands on both sides of the split.
"""

import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 1999
ID, FILE, TARGET = "id", "file", "group"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the pictures; a test row's part is its `Usage`."""

MODIFIERS = {"FE0F", "200D", "2640", "2642", "27A1", "2194", "2195"}
"""Code points that make a variant: joiners, the signs for woman and man, directions."""
MODIFIERS |= {"1F9B0", "1F9B1", "1F9B2", "1F9B3"}  # red, curly, no and white hair
PEOPLE = ["1F466", "1F467", "1F468", "1F469", "1F474", "1F475", "1F476", "1F9D1", "1F9D2", "1F9D3"]
PEOPLE += ["1F46A", "1F46B", "1F46C", "1F46D"]  # families, people who hold hands
ALIAS = {
    **dict.fromkeys(PEOPLE, "1F9D1"),
    **dict.fromkeys(["1F934", "1F478"], "1FAC5"),  # prince, princess: royalty
    **dict.fromkeys(["1F930", "1FAC3"], "1FAC4"),  # pregnant
    **dict.fromkeys(["1F483"], "1F57A"),  # dancing
    **dict.fromkeys(["1F385", "1F936"], "1F9D1-1F384"),  # at Christmas
    "1F48F": "1F9D1-2764-1F48B-1F9D1",
    "1F491": "1F9D1-2764-1F9D1",
}
"""Code points of men and women → one for both, and of some wholes → their pieces."""
VARIANT = re.compile(
    r"\b(RED|ORANGE|YELLOW|GREEN|LIGHT BLUE|BLUE|PURPLE|BROWN|BLACK|WHITE|GREY|PINK"
    r"|LARGE|SMALL|MEDIUM|VERY|HEAVY|UP|DOWN|UPWARDS|DOWNWARDS|LEFT|RIGHT|LEFTWARDS|RIGHTWARDS"
    r"|NORTH|SOUTH|EAST|WEST|AND|POINTING|ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN"
    r"|TWELVE|THIRTY|OCLOCK|[0-9]+)\b"
)
"""Words of a name that tell variants apart."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write tables and pictures for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    with tarfile.open(raw / "emoji.tar.xz") as archive:
        content = {one.name: archive.extractfile(one).read() for one in archive}
    table = pd.read_csv(io.BytesIO(content["emoji.csv"]), dtype=str, keep_default_na=False)
    same = table["picture"].map(content).duplicated()  # some people are one and the same drawing
    rows = shuffled(table[~same], random)
    rows[FILE] = [f"images/{number}.png" for number in rows[ID]]
    rows["family"] = families(rows)
    part = parts(rows[TARGET], rows["family"], random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: rows[TARGET].min()})  # the first group by name
    answers = test[[ID, TARGET]].assign(Usage=part)

    (public / "images").mkdir()
    for file, picture in zip(rows[FILE], rows["picture"], strict=True):
        (public / file).write_bytes(content[picture])
    save(rows.loc[part == "train", [ID, FILE, "family", TARGET]], public / "train.csv")
    save(test[[ID, FILE]], public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def families(rows: pd.DataFrame) -> pd.Series:
    """One number for all rows that share a base, a name but for its variant, or their looks."""
    family = pd.Series(range(len(rows)))
    kinships = [rows["code_points"].map(base), rows["name"].map(plain), rows["looks_like"]]
    while True:  # the smallest number of a relative, of its relatives, and so on
        before = family
        for kin in kinships:
            family = family.groupby(kin).transform("min")
        if family.equals(before):
            return family


def base(code_points: str) -> str:
    """What is left when it does not matter who does it, and which way they face."""
    kept = [one for one in code_points.split("-") if one not in MODIFIERS]
    pieces = "-".join(ALIAS.get(one, one) for one in kept).split("-")
    same_as_before = [one == before for before, one in zip(["", *pieces], pieces, strict=False)]
    return "-".join(one for one, again in zip(pieces, same_as_before, strict=True) if not again)


def plain(name: str) -> str:
    """A name without colour, size, direction, number and time; the whole if nothing is left."""
    return " ".join(VARIANT.sub(" ", name.replace("-", " ")).split()) or name


def parts(labels: pd.Series, family: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per family, with about equal shares of every group in each part."""
    until = np.cumsum(list(SHARES.values()))[:-1]
    part_of = pd.Series("", index=family.unique())
    first = labels.groupby(family).min()
    for _, alike in first.groupby(first):
        drawn = random.permutation(alike.index.to_numpy())
        sizes = family.value_counts()[drawn].to_numpy()
        middle = (sizes.cumsum() - sizes / 2) / sizes.sum()
        part_of[drawn] = np.array(list(SHARES))[np.searchsorted(until, middle)]
    return family.map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
