"""Split the mails into what the agent sees and what only the grader sees.

Mails of one conversation quote each other, and one advertisement is sent many times
with little changed. So mails with the same subject (without Re: and the like), and
mails that are nearly the same, are a *family*; it never stands on both sides of the
split.
"""

import re
import zlib
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2002
ID, TARGET = "id", "spam"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the rows; a test row's part is its `Usage`."""
BEGINNING, SKETCH, ALIKE = 2000, 8, 0.5
"""Characters compared; phrases by which a twin is looked for; the share that makes one."""
REPLY = re.compile(r"^subject: *((re|fwd?|fw|aw|sv) *(\[\d+\])? *:|\[[^]]*\]|\s|-)*", re.IGNORECASE)
"""What stands before the words of a subject: marks of an answer, names of mailing lists."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(cleaned(pd.read_csv(raw / "mails.csv.xz", keep_default_na=False)), random)
    part = parts(rows[TARGET], families(rows["text"], rows["text"].map(subject)), random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """Each text once; a text that is called both spam and not spam is left out."""
    labels = table.groupby("text")[TARGET].transform("nunique")
    return table[labels == 1].drop_duplicates("text")


def subject(text: str) -> str:
    """The words of the subject, the same for a mail and the answers to it."""
    return " ".join(re.findall(r"\w+", REPLY.sub("", text.partition("\n")[0]).lower()))


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def families(texts: pd.Series, subjects: pd.Series) -> pd.Series:
    """One number for all mails with a subject, and of subjects with a text in common."""
    phrases = [phrases_of(text) for text in texts]
    rows_with = defaultdict(list)
    for row, mine in enumerate(phrases):
        for phrase in sorted(mine, key=checksum)[:SKETCH]:
            rows_with[phrase].append(row)
    head = list(range(len(texts)))

    def family(row: int) -> int:
        while head[row] != row:
            row = head[row]
        return row

    for alike in subjects[subjects != ""].groupby(subjects).groups.values():
        for one, other in pairwise(alike):
            head[family(other)] = family(one)
    for candidates in rows_with.values():
        for one, other in combinations(candidates, 2):
            if family(one) != family(other):
                shared = len(phrases[one] & phrases[other])
                if shared >= ALIKE * len(phrases[one] | phrases[other]):
                    head[family(other)] = family(one)
    return pd.Series([family(row) for row in range(len(texts))])


def phrases_of(text: str) -> set[str]:
    """All runs of three words of the first lines, without marks and capitals."""
    words = re.findall(r"\w+", text[:BEGINNING].lower())
    if len(words) < 3:
        return {" ".join(words) or text}
    return {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}


def checksum(phrase: str) -> tuple[int, str]:
    """An order that is random but always the same: equal texts have equal first phrases."""
    return zlib.crc32(phrase.encode()), phrase


def parts(labels: pd.Series, family: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per family, with about equal shares of every label in each part."""
    until = np.cumsum(list(SHARES.values()))[:-1]
    sizes = family.groupby(family).size()
    part_of = pd.Series("", index=sizes.index)
    label = labels.groupby(family).mean().round()  # of a family: what most of it is
    for _, alike in label.groupby(label):
        drawn = random.permutation(alike.index.to_numpy())
        middle = (sizes[drawn].cumsum() - sizes[drawn] / 2) / sizes[drawn].sum()
        part_of[drawn] = np.array(list(SHARES))[np.searchsorted(until, middle)]
    return family.map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
