"""Write the prepare.py of a new task: a short program that the author can edit."""

import hashlib
import json

from kernel_env.authoring.from_table.design import Design
from kernel_env.authoring.from_table.pages import quoted


def prepare_py(design: Design, data: str) -> str:
    """Return the text of prepare.py.

    Args:
        design: the task's design.
        data: the name of the data file in the task folder.
    """
    split = design.split
    seed = int(hashlib.sha256(design.name.encode()).hexdigest()[:6], 16)
    targets = json.dumps(design.targets, ensure_ascii=False)
    constants = [f"SEED = {seed}", f"ID, TARGETS = {quoted(design.id)}, {targets}"]
    if design.extra:
        constants.append(f"{design.metric.extra.upper()} = {quoted(design.extra)}")
    if design.positive is not None:
        constants.append(f"POSITIVE = {quoted(design.positive)}")
    if split.method in ("time", "time in group"):
        constants.append(f"TIME = {quoted(split.column)}")
    if split.group:
        constants.append(f"GROUP = {quoted(split.group)}")
    without_family = ""
    if design.families is not None:
        constants.append(f"FAMILY = {quoted(family_column(design))}")
        without_family = "    rows = rows.drop(columns=FAMILY)\n"
    elif split.method == "group":
        constants.append(f"FAMILY = {quoted(split.column)}")
    with_pictures = ""
    if design.has_files:
        with_pictures = f"    rows = write_pictures(rows, raw / {quoted(data)}, public)\n"
    by_time = split.method in ("time", "time in group")
    if design.dropped:
        constants.append(f"EMPTY = {json.dumps(design.dropped, ensure_ascii=False)}")
    if design.with_words:
        constants.append(f"NUMBERS = {json.dumps(design.with_words, ensure_ascii=False)}")
    in_answers = f", {design.metric.extra.upper()}" if design.extra else ""
    hidden = "[*TARGETS, EVENT]" if design.event else "TARGETS"
    table = f"labelled(read(raw / {quoted(data)}))"
    arrange = f"in_time_order({table})" if by_time else f"shuffled({table}, random)"
    return f'''\
"""{SPLIT_DOCSTRING[split.method]}

{ABOUT_READING[design.has_files]}
"""
{PICTURE_IMPORTS if design.has_files else ""}
from pathlib import Path

import numpy as np
import pandas as pd
{"from PIL import Image" + chr(10) if design.has_files else ""}
{chr(10).join(constants)}
SHARES = {{"train": 0.70, "Public": 0.09, "Private": 0.21}}
"""Each part's share of the rows; a test row's part is its `Usage` in answers.csv."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv to public, answers.csv to private."""
    random = np.random.RandomState(SEED)  # its stream is the same in every version of numpy
    rows = {arrange}
    part = assign_parts(rows, random)
{without_family}{with_pictures}    train, test = rows[part == "train"], rows[part != "train"]
    sample = test[[ID]].assign(**{{target: {constant(design)} for target in TARGETS}})
    answers = test[[ID, *TARGETS{in_answers}]].assign(Usage=part)

    save(train, public / "train.csv")
    save(test.drop(columns={hidden}), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


{read_function(design)}


{labelled_function(design)}


{ARRANGE_FUNCTIONS[by_time, design.has_id_column]}


{parts_function(design)}


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file with the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\\n")
'''


ABOUT_READING = {
    False: "Cells are read and written as text, so that no digit changes; only an empty cell is"
    " missing.",
    True: "A picture's folder is its class, so pictures get new names: the ids of their rows.",
}
"""What the program's docstring says about the data, by whether it is pictures."""
PICTURE_IMPORTS = "\nimport io\nimport zipfile"

SPLIT_DOCSTRING = {
    "family": "Split the table at random, so that no family is in more than one part.",
    "random": "Split the table at random into the agent's files and the grader's answers.",
    "group": "Split the table so that no group is in both the training and the test set.",
    "time": "Split the table by time: the earliest rows train, the latest rows test.",
    "time in group": "Split each group of rows by time: its earliest rows train, its latest test.",
}


def constant(design: Design) -> str:
    """Return the Python expression for the sample submission's value.

    It uses training rows only.
    """
    if design.kind == "regression":
        whole = ".round()" if design.metric.wants == "integer" else ""
        return f"pd.to_numeric(train[target]).median(){whole}"
    if design.metric.wants in ("number", "probability"):
        return "0.5"
    if design.positive is not None or design.metric.wants == "binary":
        return "0"
    return "train[target].min()"


def read_function(design: Design) -> str:
    """Return the function that reads the data."""
    if design.has_files:
        return PICTURE_FUNCTIONS
    dropped = ".drop(columns=EMPTY)" if design.dropped else ""
    emptied = EMPTY_WORDS if design.with_words else ""
    about = ", without the columns that are always empty" if design.dropped else ""
    return f'''\
def read(path: Path) -> pd.DataFrame:
    """Read a table as text{about}."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    table = table.fillna("").replace(r"\\r\\n?", "\\n", regex=True){dropped}
{emptied}    return table'''


EMPTY_WORDS = """\
    for name in NUMBERS:  # words such as NA stand for missing numbers
        is_number = pd.to_numeric(table[name], errors="coerce").notna()
        table[name] = table[name].where(is_number, "")
"""
PICTURE_FUNCTIONS = '''\
def read(path: Path) -> pd.DataFrame:
    """List an archive of pictures: the name, how it looks, and the folder as target."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        looks = [look(archive.read(name)) for name in names]
    folders = [name.partition("/")[0] for name in names]
    return pd.DataFrame({"file": names, "look": looks, TARGETS[0]: folders})


def look(picture: bytes) -> str:
    """Return a picture on white as a few pixels and shades, the same for those that look alike."""
    with Image.open(io.BytesIO(picture)) as image:
        colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    plain = Image.alpha_composite(white, colours).convert("RGB")
    small = plain.resize((16, 16), resample=4)  # 4 is the filter that takes means
    return (np.asarray(small) // 16).tobytes().hex()


def write_pictures(rows: pd.DataFrame, path: Path, public: Path) -> pd.DataFrame:
    """Write each picture under a name that tells nothing, and return the rows with these names."""
    (public / "pictures").mkdir()
    files = [f"pictures/{n}{Path(name).suffix.lower()}" for n, name in zip(rows[ID], rows["file"])]
    with zipfile.ZipFile(path) as archive:
        for file, name in zip(files, rows["file"]):
            (public / file).write_bytes(archive.read(name))
    return rows.assign(file=files).drop(columns="look")'''


def labelled_function(design: Design) -> str:
    """Return the function that removes rows without a target and encodes the target."""
    has_targets = '(table[TARGETS] != "").all(axis=1)'
    if design.target_is_number:
        has_targets = 'table[TARGETS].apply(pd.to_numeric, errors="coerce").notna().all(axis=1)'
    if design.positive is None:
        return f'''\
def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Remove the rows without a target."""
    return table[{has_targets}]'''
    return f'''\
def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Remove the rows without a target; encode `POSITIVE` as 1 and the other value as 0."""
    rows = table[{has_targets}]
    return rows.assign(**{{TARGETS[0]: (rows[TARGETS[0]] == POSITIVE).astype(int)}})'''


ADD_IDS = """\
    rows.insert(0, ID, rows.index)
    return rows"""
SHUFFLED = """\
def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    \"\"\"Put the rows in random order{numbered}.\"\"\"
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
"""
TIME_ORDER = """\
def timestamps(rows: pd.DataFrame) -> pd.Series:
    \"\"\"Return each row's time as a number or a timestamp.\"\"\"
    numbers = pd.to_numeric(rows[TIME], errors="coerce")
    if numbers.notna().all():
        return numbers
    return pd.to_datetime(rows[TIME], format="ISO8601", utc=True)


def in_time_order(table: pd.DataFrame) -> pd.DataFrame:
    \"\"\"Sort the rows by time{numbered}.\"\"\"
    rows = table.iloc[timestamps(table).argsort(kind="stable")].reset_index(drop=True)
"""
ID_FIRST = """\
    return rows[[ID, *(column for column in rows if column != ID)]]"""
ARRANGE_FUNCTIONS = {
    (False, False): SHUFFLED.format(
        numbered=" and number them from 0, so that ids carry no information"
    )
    + ADD_IDS,
    (False, True): SHUFFLED.format(numbered="") + ID_FIRST,
    (True, False): TIME_ORDER.format(numbered=" and number them from 0") + ADD_IDS,
    (True, True): TIME_ORDER.format(numbered="") + ID_FIRST,
}
"""The function that orders the rows, by (split by time, the table has an id column)."""


def parts_function(design: Design) -> str:
    """Return the function that assigns each row to a part."""
    match design.split.method:
        case "group":
            return BY_GROUP
        case "time":
            return BY_TIME
        case "time in group":
            return BY_TIME_IN_GROUP
    stratum = (
        """
    label = rows.groupby(duplicates)[TARGETS[0]].first()"""
        if design.kind != "regression"
        else """
    label = pd.Series(0, index=range(duplicates.max() + 1))  # a single stratum"""
    )
    others = "ID, *TARGETS, EVENT" if design.event else "ID, *TARGETS"
    features, alike = (
        f"[column for column in rows if column not in ({others})]",
        "equal features",
    )
    if design.has_files:
        features, alike = '["look"]', "equal looks"
    if design.families is not None:
        features, alike = "[FAMILY]", "nearly equal features"
    assigned = BY_COUNT if design.families is None else BY_SIZE
    stratified = ", stratified by class" if design.kind != "regression" else ""
    return f'''\
def assign_parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Assign rows at random{stratified}; rows with {alike} get the same part."""
    features = {features}
    duplicates = rows.groupby(features, dropna=False, sort=False).ngroup(){stratum}
{assigned}
    return duplicates.map(part_of)'''


BY_COUNT = """\
    part_of = pd.Series("", index=label.index)
    limits = np.cumsum(list(SHARES.values()))[:-1]
    for _, same_label in label.groupby(label):
        drawn = random.permutation(same_label.index.to_numpy())
        borders = np.round(limits * len(drawn)).astype(int)
        for name, chosen in zip(SHARES, np.split(drawn, borders), strict=True):
            part_of[chosen] = name"""
BY_SIZE = """\
    part_of = pd.Series("", index=label.index)
    sizes = duplicates.value_counts()
    limits = np.cumsum(list(SHARES.values()))[:-1]
    for _, same_label in label.groupby(label):
        drawn = random.permutation(same_label.index.to_numpy())
        is_small = sizes[drawn].to_numpy() <= SHARES["Public"] / 2 * sizes[drawn].sum()
        drawn = drawn[np.argsort(is_small, kind="stable")]  # large families are for training
        size = sizes[drawn].to_numpy()
        middle = (size.cumsum() - size / 2) / size.sum()
        part_of[drawn] = np.array(list(SHARES))[np.searchsorted(limits, middle)]"""
BY_GROUP = '''\
def assign_parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Assign whole families in random order, until each part has its share of the rows."""
    size = rows.groupby(FAMILY, dropna=False).size().sort_index()
    drawn = size.iloc[random.permutation(len(size))]
    middle = (drawn.cumsum() - drawn / 2) / len(rows)
    borders = np.cumsum(list(SHARES.values()))[:-1]
    names = np.array(list(SHARES))[np.searchsorted(borders, middle)]
    return rows[FAMILY].map(dict(zip(drawn.index, names, strict=True)))'''
BY_TIME = '''\
def assign_parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Assign the earliest rows to train, and each later row to Public or Private at random."""
    time = timestamps(rows)
    first_test = time.iloc[round(SHARES["train"] * len(rows))]  # no timestamp is in both sets
    share = SHARES["Public"] / (SHARES["Public"] + SHARES["Private"])
    usage = np.where(random.random_sample(len(rows)) < share, "Public", "Private")
    return pd.Series(np.where(time < first_test, "train", usage), index=rows.index)'''
BY_TIME_IN_GROUP = '''\
def assign_parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Assign each group's earliest rows to train, its later ones to Public or Private at random."""
    position = timestamps(rows).groupby(rows[GROUP]).rank(method="max", pct=True)
    share = SHARES["Public"] / (SHARES["Public"] + SHARES["Private"])
    usage = np.where(random.random_sample(len(rows)) < share, "Public", "Private")
    return pd.Series(np.where(position <= SHARES["train"], "train", usage), index=rows.index)'''


def family_column(design: Design) -> str:
    """Return a name for the column of families that no column of the table has."""
    name = "family"
    while name in (design.id, *design.targets, *(column.name for column in design.columns)):
        name = f"row_{name}"
    return name
