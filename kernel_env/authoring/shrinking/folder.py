"""Write a small variant of a task as a task folder of its own.

Its data are rows of the prepared task, so its `prepare.py` only hands them out. The reference
pipelines run anew on it. How well the small task predicts the large one is the rank correlation of
the pipelines that are on both leaderboards.
"""

import hashlib
import json
import math
import re
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_env.authoring.from_table.folder import (
    check_is_new,
    constant_entry,
    drafted,
    prepared_anew,
)
from kernel_env.authoring.reference import leaderboard
from kernel_env.authoring.shrinking.rows import Tables, choose
from kernel_env.errors import TaskError
from kernel_env.field_docs import show_fields
from kernel_env.grading import metric as metrics
from kernel_env.tasks import Task, spec
from kernel_env.tasks.prepare import Prepared, prepare

if TYPE_CHECKING:
    import pandas as pd

PREPARE = '''"""Hand out the rows that were kept of the task {of}, as it splits them."""

import shutil
from pathlib import Path


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Copy what the agent sees, and answers.csv for us."""
    shutil.copytree(raw / "public", public, dirs_exist_ok=True)
    shutil.copyfile(raw / "answers.csv", private / "answers.csv")
'''
NOTE = (
    "> **A small variant** of the task `{of}`: {train:,} of its {all_train:,} training rows and"
    " {test:,} of its {all_test:,} test rows, {public:,} of them public. Numbers of rows below are"
    " those of the large task.\n\n"
)
COPIED = ("NOTICE", "solution.ipynb", "grade.py")
TABLES = ("train.csv", "test.csv", "sample_submission.csv", "description.md")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
FEWEST_PIPELINES = 5
"""With fewer pipelines on both leaderboards a correlation says nothing."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A small variant of a task."""

    task: Task
    rows: int
    """Number of training rows."""
    test_rows: int
    entries: int
    """Number of entries of its leaderboard."""
    agreement: float | None
    """Spearman's rank correlation of the private scores of the pipelines on both leaderboards, -1
    to 1; None if there are fewer than five, or all score the same."""
    why_no_pipelines: str
    """Why the leaderboard has only the constant answer; empty: the reference pipelines ran."""


async def shrink(
    task: Task,
    into: Path,
    *,
    name: str = "",
    rows: int = 200,
    test_rows: int | None = None,
    seed: int = 0,
    sandbox: str = "auto",
    with_pipelines: bool = True,
) -> Shrunk:
    """Write a small variant of a task; after an error nothing is left.

    Args:
        task: a task whose data are tables, with files that their rows name.
        into: the folder that contains the task folders.
        name: the new task's name; empty: the task's with the number of rows.
        rows: number of training rows.
        test_rows: number of test rows; None: as many, or all if there are fewer.
        seed: what the choice of rows depends on.
        sandbox: the sandbox of the reference pipelines.
        with_pipelines: whether to run the reference pipelines.

    Raises:
        UsageError: the folder exists, or cannot be written.
        TaskError: the task has no such tables, or too few rows.
        SandboxError: the sandbox failed.
    """
    name = name or f"{task.id}-{rows}"
    target = check_is_new(into, name)
    prepared = prepare(task)
    tables = read_tables(task, prepared)
    wanted = min(rows, len(tables.test)) if test_rows is None else test_rows
    train, test = choose(tables, rows, wanted, seed)
    why = "" if with_pipelines else "--no-population was given"
    with drafted(target) as draft:
        small = write(task, prepared, tables, train, test, draft, seed)
        with prepared_anew(small, keep=True) as small_prepared:
            entries = [await constant_entry(small, small_prepared)]
            if with_pipelines:
                try:
                    entries = (await leaderboard.run_reference_pipelines(small, sandbox)).entries
                except TaskError as error:
                    why = str(error)
            leaderboard.write(small, entries)
            scores = {each.entry: each.private_score for each in entries}
            found = agreement(read_scores(task), scores)
            note_agreement(small, found)
            spec.load(draft)
    return Shrunk(
        task=spec.load(target),
        rows=len(train),
        test_rows=len(test),
        entries=len(entries),
        agreement=found,
        why_no_pipelines=why,
    )


def read_tables(task: Task, prepared: Prepared) -> Tables:
    """Read the tables of a prepared task. Raises `TaskError` if it has others."""
    schema = task.scoring.schema
    if schema.is_free_form or len(schema.id_columns) != 1:
        raise TaskError(
            f"{task.id} cannot be shrunk: its submissions are no table with one column of ids"
        )
    metric = task.file.metric
    if metric.column is not None and metrics.find(metric.name).extra == "query":
        raise TaskError(f"{task.id} cannot be shrunk: the rows of a query belong together")
    id_column, target = schema.id_columns[0], schema.target_columns[0]
    found = {}
    for part, path, columns in (
        ("train", prepared.public / "train.csv", [target]),
        ("test", prepared.public / "test.csv", [id_column]),
        ("answers", prepared.answers, [id_column, target, "Usage"]),
    ):
        if not path.is_file():
            raise TaskError(f"{task.id} cannot be shrunk: it has no {path.name}")
        found[part] = read_csv(path)
        for column in columns:
            if column not in found[part]:
                raise TaskError(f"{task.id} cannot be shrunk: {path.name} has no column {column!r}")
    if set(found["test"][id_column]) != set(found["answers"][id_column]):
        raise TaskError(f"{task.id} cannot be shrunk: test.csv has other ids than the answers")
    return Tables(**found, id_column=id_column, target=target)


def read_csv(path: Path) -> "pd.DataFrame":
    """Read a table whose values stay as they are written."""
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")


def write(
    task: Task,
    prepared: Prepared,
    tables: Tables,
    train: list[int],
    test: list[int],
    folder: Path,
    seed: int,
) -> Task:
    """Write all files but the leaderboard, and load the folder."""
    public = folder / "data" / "public"
    public.mkdir(parents=True)
    kept_train, kept_test = tables.train.iloc[train], tables.test.iloc[test]
    ids = set(kept_test[tables.id_column])
    sample = read_csv(prepared.public / "sample_submission.csv")
    answers = tables.answers[tables.answers[tables.id_column].isin(ids)]
    for table, path in (
        (kept_train, public / "train.csv"),
        (kept_test, public / "test.csv"),
        (sample[sample[tables.id_column].isin(ids)], public / "sample_submission.csv"),
        (answers, folder / "data" / "answers.csv"),
    ):
        table.to_csv(path, index=False, lineterminator="\n")
    copy_files(prepared.public, public, (tables.train, tables.test), (kept_train, kept_test))
    note = NOTE.format(
        of=task.id,
        train=len(train),
        all_train=len(tables.train),
        test=len(test),
        all_test=len(tables.test),
        public=int((answers["Usage"] == "Public").sum()),
    )
    content = small_task_file(task, folder, len(train), len(test), seed)
    for name, text in (
        ("task.toml", toml_text(content)),
        ("prepare.py", PREPARE.format(of=task.id)),
        ("description.md", note + task.description),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    for name in (*COPIED, *(path.name for path in task.other_solutions.values())):
        if (task.folder / name).is_file():
            shutil.copyfile(task.folder / name, folder / name)
    return spec.load(folder)


def copy_files(
    source: Path, target: Path, all_: "Iterable[pd.DataFrame]", kept: "Iterable[pd.DataFrame]"
) -> None:
    """Copy the files beside the tables: those that kept rows name, and those that no row names."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    names = {path.relative_to(source).as_posix() for path in files} - set(TABLES)
    named, wanted = (values_of(tables) & names for tables in (all_, kept))
    for name in sorted(wanted | (names - named)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def values_of(tables: "Iterable[pd.DataFrame]") -> set[str]:
    """Return all values of some tables."""
    return {value for table in tables for name in table for value in table[name].unique()}


def small_task_file(
    task: Task, folder: Path, rows: int, test_rows: int, seed: int
) -> dict[str, Any]:
    """Return the content of the variant's task.toml."""
    content = tomllib.loads((task.folder / "task.toml").read_text(encoding="utf-8"))
    for name in ("kaggle", "origin", "raw", "shrunk"):
        content.pop(name, None)
    content |= {"id": folder.name, "name": f"{task.file.name}, {rows:,} rows"}
    content["shrunk"] = {"of": task.id, "rows": rows, "test_rows": test_rows, "seed": seed}
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    content["raw"] = {
        path.relative_to(folder / "data").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.suffix == ".csv"
    }
    return content


def note_agreement(task: Task, found: float | None) -> None:
    """Write into task.toml how well the leaderboards agree."""
    if found is None:
        return
    path = task.folder / "task.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    content["shrunk"]["agreement"] = round(found, 3)
    path.write_text(toml_text(content), encoding="utf-8")


def toml_text(content: Mapping[str, Any]) -> str:
    """Return values and tables of values as TOML, in their order, the tables last."""
    lines = [f"{name} = {toml_value(each)}" for name, each in content.items() if not table(each)]
    for name, inner in content.items():
        if table(inner):
            lines += ["", f"[{name}]"]
            lines += [f"{toml_key(key)} = {toml_value(each)}" for key, each in inner.items()]
    return "\n".join(lines) + "\n"


def table(value: object) -> bool:
    """Return whether a value is a table of TOML."""
    return isinstance(value, Mapping)


def toml_key(key: str) -> str:
    """Return a key of TOML, in quotes if it needs them."""
    return key if BARE_KEY.fullmatch(key) else toml_value(key)


def toml_value(value: object) -> str:
    """Return a text, number, truth value or list of these as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


# ── agreement ─────────────────────────────────────────────────────────────────────────────


def read_scores(task: Task) -> dict[str, float]:
    """Return the private scores of the reference pipelines on a task's own leaderboard."""
    import csv

    path = task.folder / "leaderboard.csv"
    if task.leaderboard.kind != "reference" or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["entry"]: float(row["private_score"])
            for row in csv.DictReader(file)
            if row["private_score"]
        }


def agreement(large: Mapping[str, float], small: Mapping[str, float]) -> float | None:
    """Return Spearman's rank correlation of the scores of the pipelines that have both.

    Spearman (1904), "The proof and measurement of association between two things"; ties get the
    mean of their ranks.

    Returns:
        -1 to 1; None with fewer than five pipelines, or if all have the same score on a side.
    """
    from scipy.stats import spearmanr

    names = sorted(large.keys() & small.keys())
    sides = [large[name] for name in names], [small[name] for name in names]
    if len(names) < FEWEST_PIPELINES or any(len(set(side)) == 1 for side in sides):
        return None
    found = float(spearmanr(*sides).statistic)
    return found if math.isfinite(found) else None
