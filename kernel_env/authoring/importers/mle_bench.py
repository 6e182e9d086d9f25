"""MLE-bench's competition folders: `config.yaml`, `description.md`, `prepare.py`, `grade.py`.

The direction of a metric is read from the leaderboard, best first. That is kept with Git LFS:
in a clone without it there is a pointer in its place, and no direction. Data is what `mlebench
prepare` made (`<data>/<id>/prepared/{public,private}`) or what it downloaded (`<data>/<id>/raw`).
"""

import ast
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from kernel_env.authoring.importers import external_code, task_folder
from kernel_env.authoring.importers.external_code import SAMPLE
from kernel_env.authoring.importers.task_folder import Board, Found, Left
from kernel_env.errors import TaskError

BENCHMARK = "mle-bench"
DECIMALS = 5
"""MLE-bench rounds scores to so many."""


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[Found | Left]:
    """Every competition of a checkout. Raises `UsageError`."""
    home = task_folder.root(
        path,
        ("mlebench/competitions", "competitions"),
        "*/config.yaml",
        "a checkout of MLE-bench (prepared data alone has no graders: give its folder as --data)",
    )
    place = data or platformdirs.user_cache_path() / "mle-bench" / "data"
    ids = [path.parent.name for path in home.glob("*/config.yaml")]
    for id_ in task_folder.chosen(ids, names, home):
        try:
            yield competition(home / id_, place)
        except TaskError as error:
            yield Left(id=id_, why=str(error))


def competition(home: Path, data: Path) -> Found:
    """One competition. Raises `TaskError`."""
    config = read_config(home / "config.yaml")
    scores = task_folder.scores(home / "leaderboard.csv", "score")
    module, _ = function(config, "preparer")
    preparing = home.parents[2].joinpath(*module.split(".")).with_suffix(".py")
    return Found(
        benchmark=BENCHMARK,
        id=config["id"],
        home=home,
        name=config["name"],
        summary=f"{config['name']}: a Kaggle competition, prepared by MLE-bench.",
        description=task_folder.read(home.parents[2] / config["description"]),
        metric=config["grader.name"],
        higher_is_better=not float(scores[0]) < float(scores[-1]),
        licence=f"the competition's rules: https://www.kaggle.com/c/{config['id']}/rules",
        places=[
            data / config["id"] / "prepared" / "private" / inside(config, "answers", "private"),
            data / config["id"] / "raw",
        ],
        todo=f"run `mlebench prepare -c {config['id']}`, or import again with --data FOLDER",
        board=Board(kind="human", public=scores, private=scores),
        competition=task_folder.on_kaggle(config["id"]),
        made_from=task_folder.read(preparing).encode(),
    )


KEYS = ["id", "name", "description", "preparer"]
KEYS += ["dataset.answers", "dataset.sample_submission", "grader.name", "grader.grade_fn"]


def read_config(path: Path) -> dict[str, str]:
    """The keys of a config.yaml that we need, one inside another joined by a point.

    They are plain `key: value` lines, at most one level deep, so no YAML package is needed.
    Raises `TaskError` naming the key that is missing.
    """
    found: dict[str, str] = {}
    above = ""
    for line in task_folder.read(path).splitlines():
        key, colon, value = line.partition(":")
        if not colon or line.lstrip().startswith(("#", "-")):
            continue
        if not line.startswith(" "):
            above = "" if value.strip() else f"{key.strip()}."
            found[key.strip()] = unquoted(value)
        elif above:
            found[above + key.strip()] = unquoted(value)
    for key in KEYS:
        if not found.get(key):
            raise TaskError(f"{path}: the key {key} is missing")
    return found


def unquoted(value: str) -> str:
    """A YAML scalar on one line."""
    text = value.strip()
    if text[:1] in ("'", '"'):
        try:
            return str(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            return text.strip("'\"")
    return text.partition(" #")[0].strip()


def function(config: Mapping[str, str], key: str) -> tuple[str, str]:
    """The module and the name that `package.module:function` says. Raises `TaskError`."""
    module, colon, name = config[key].partition(":")
    if not (module and colon and name):
        raise TaskError(f"config.yaml: {key} is {config[key]!r}; wanted module:function")
    return module, name


def inside(config: Mapping[str, str], key: str, part: str) -> str:
    """A data file's path below `<id>/prepared/<part>`. Raises `TaskError`."""
    said = PurePosixPath(config[f"dataset.{key}"])
    if said.parts[1:3] != ("prepared", part):
        raise TaskError(f"config.yaml: dataset.{key} is {said}; wanted …/prepared/{part}/…")
    return str(PurePosixPath(*said.parts[3:]))


# ── in the preparing and the grading process ──────────────────────────────────────────────


def called(home: Path, module: str, name: str) -> Any:
    """A function of the checkout, its own package's helpers replaced by stand-ins."""
    external_code.ready()
    package = importlib.import_module("mlebench")
    package.__path__.append(str(home.parents[1]))
    with external_code.importing(home):
        return getattr(importlib.import_module(module), name)


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """What MLE-bench prepared, or what its prepare function makes of a copy of the raw files."""
    config = read_config(home / "config.yaml")
    answers = inside(config, "answers", "private")
    if raw.name == "raw":
        with external_code.copied(raw, public) as scrap:
            run = called(home, *function(config, "preparer"))
            run(raw=scrap, public=public, private=private)
    else:
        prepared = raw.parents[len(PurePosixPath(answers).parts)]
        external_code.copy(prepared / "public", public)
        external_code.copy(prepared / "private", private)
    external_code.made(private, answers)
    sample = PurePosixPath(config["dataset.sample_submission"])
    given = {"public": public, "private": private}[sample.parts[2]]  # some are not for the agent
    found = external_code.made(given, str(PurePosixPath(*sample.parts[3:])))
    for where in {given, private}:
        if found != where / SAMPLE:
            shutil.copyfile(found, where / SAMPLE)


def grade(home: Path, private: Path, submission: Path) -> float:
    """Call the grader, as MLE-bench does, and round."""
    config = read_config(home / "config.yaml")
    run = called(home, *function(config, "grader.grade_fn"))
    answers = private / inside(config, "answers", "private")

    def score(path: Path) -> Any:
        return run(external_code.table(path, external_code.read_csv), read_answers(answers))

    return round(external_code.judged(score, submission, private / SAMPLE), DECIMALS)


def read_answers(path: Path) -> Any:
    """A table, or the objects of a .jsonl file."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return external_code.read_csv(path)
