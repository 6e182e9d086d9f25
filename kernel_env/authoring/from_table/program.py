"""The prepare.py of a new task: short, and written to be edited."""

import hashlib

from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.pages import quoted


def prepare_py(design: Design, data: str) -> str:
    """How the table is split."""
    how = design.split
    seed = int(hashlib.sha256(design.name.encode()).hexdigest()[:6], 16)
    constants = [f"SEED = {seed}", f"ID, TARGET = {quoted(design.id)}, {quoted(design.target)}"]
    if design.positive is not None:
        constants.append(f"POSITIVE = {quoted(design.positive)}")
    if how.column:
        constants.append(f"{how.how.upper()} = {quoted(how.column)}")
    steps = f"cleaned(pd.read_csv(raw / {quoted(data)}, dtype=str))"
    ordered = "ordered" if how.how == "time" else "shuffled"
    arguments = "" if how.how == "time" else ", random"
    return f'''\
"""{WHY_SPLIT[how.how].format(column=how.column)}

Cells are read and written as text, so not a digit of them changes on the way.
"""

from pathlib import Path

import numpy as np
import pandas as pd

{chr(10).join(constants)}
SHARES = {{"train": 0.70, "Public": 0.09, "Private": 0.21}}
"""Of the rows; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = {ordered}({steps}{arguments})
    part = parts(rows, random)
    train, test = rows[part == "train"], rows[part != "train"]
    sample = test[[ID]].assign(**{{TARGET: {constant(design)}}})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(train, public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


{cleaned(design)}


{SHUFFLED_IDS[how.how == "time", design.given_id]}


{parts(design)}


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\\n")
'''


WHY_SPLIT = {
    "random": "Split the table into what the agent sees and what only the grader sees.",
    "group": "Split the table so that no {column} stands on both sides.",
    "time": "Split the table by {column}: the past is to learn from, the rest is asked for.",
}


def constant(design: Design) -> str:
    """The sample's answer, as Python: one that knows nothing of the test rows."""
    if design.kind == "regression":
        whole = ".round()" if design.metric.wants == "integer" else ""
        return f"pd.to_numeric(train[TARGET]).median(){whole}"
    if design.metric.wants in ("number", "probability"):
        return "0.5"
    if design.positive is not None or design.metric.wants == "binary":
        return "0"
    return "train[TARGET].min()"


def cleaned(design: Design) -> str:
    """The function that makes the target what it should be."""
    if design.positive is None:
        return '''\
def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an answer."""
    return table[table[TARGET].notna()]'''
    return '''\
def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an answer: 1 for `POSITIVE` and 0 for the other."""
    known = table[table[TARGET].notna()]
    return known.assign(**{TARGET: (known[TARGET] == POSITIVE).astype(int)})'''


NUMBERED = """\
    rows.insert(0, ID, rows.index)
    return rows"""
SHUFFLED = """\
def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    \"\"\"The rows in a random order{numbered}.\"\"\"
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
"""
ORDERED = """\
def moments(rows: pd.DataFrame) -> pd.Series:
    \"\"\"When each row was.\"\"\"
    numbers = pd.to_numeric(rows[TIME], errors="coerce")
    if numbers.notna().all():
        return numbers
    return pd.to_datetime(rows[TIME], format="ISO8601", utc=True)


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    \"\"\"The rows in the order of time{numbered}.\"\"\"
    rows = table.iloc[moments(table).argsort(kind="stable")].reset_index(drop=True)
"""
COLUMNS_FIRST = """\
    return rows[[ID, *(column for column in rows if column != ID)]]"""
SHUFFLED_IDS = {
    (False, False): SHUFFLED.format(numbered=", numbered from 0: an id tells nothing about its row")
    + NUMBERED,
    (False, True): SHUFFLED.format(numbered="") + COLUMNS_FIRST,
    (True, False): ORDERED.format(numbered=", numbered from 0") + NUMBERED,
    (True, True): ORDERED.format(numbered="") + COLUMNS_FIRST,
}
"""By whether rows stand in the order of time, and whether the table has ids."""


def parts(design: Design) -> str:
    """The function that deals rows out."""
    match design.split.how:
        case "group":
            return '''\
def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per group, until the parts have their shares of the rows."""
    size = rows.groupby(GROUP, dropna=False).size().sort_index()
    drawn = size.iloc[random.permutation(len(size))]
    middle = (drawn.cumsum() - drawn / 2) / len(rows)
    until = np.cumsum(list(SHARES.values()))[:-1]
    names = np.array(list(SHARES))[np.searchsorted(until, middle)]
    return rows[GROUP].map(dict(zip(drawn.index, names, strict=True)))'''
        case "time":
            return '''\
def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """The first rows train; the rest are the test, and each is public or private by lot."""
    moment = moments(rows)
    first = moment.iloc[round(SHARES["train"] * len(rows))]  # no moment is on both sides
    share = SHARES["Public"] / (SHARES["Public"] + SHARES["Private"])
    lot = np.where(random.random_sample(len(rows)) < share, "Public", "Private")
    return pd.Series(np.where(moment < first, "train", lot), index=rows.index)'''
    stratum = (
        """
    label = rows.groupby(family)[TARGET].first()"""
        if design.kind != "regression"
        else """
    label = pd.Series(0, index=range(family.max() + 1))  # one stratum: an amount has no classes"""
    )
    shares = ", with equal shares of every class" if design.kind != "regression" else ""
    return f'''\
def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Each row's part{shares}; rows with equal features stay together."""
    features = [column for column in rows if column not in (ID, TARGET)]
    family = rows.groupby(features, dropna=False, sort=False).ngroup(){stratum}
    part_of = pd.Series("", index=label.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in label.groupby(label):
        drawn = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(drawn)).astype(int)
        for name, chosen in zip(SHARES, np.split(drawn, borders), strict=True):
            part_of[chosen] = name
    return family.map(part_of)'''
