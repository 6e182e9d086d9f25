"""Import MLE-bench's competitions.

A competition is a folder with `config.yaml`, `description.md`, `prepare.py` and `grade.py`. The
metric's direction comes from the leaderboard, which lists the best score first. MLE-bench keeps
leaderboards in Git LFS: a checkout without it has a pointer file and no direction.

The data is what `mlebench prepare` wrote (`<data>/<id>/prepared/{public,private}`) or what it
downloaded (`<data>/<id>/raw`).
"""

import ast
import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from kernel_env.authoring.importers import external_code, task_folder
from kernel_env.authoring.importers.external_code import SAMPLE
from kernel_env.authoring.importers.task_folder import FoundTask, SkippedTask, SourceLeaderboard
from kernel_env.errors import TaskError

BENCHMARK = "mle-bench"
DECIMALS = 5
"""MLE-bench rounds scores to this number of decimals."""


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[FoundTask | SkippedTask]:
    """Find the competitions of a checkout.

    Args:
        path: the checkout, or its folder of competitions.
        data: the folder with prepared or downloaded data; None: MLE-bench's own cache.
        names: ids of competitions; empty: all.

    Raises:
        UsageError: `path` is no checkout, or a name is unknown.
    """
    home = task_folder.find_tasks_folder(
        path,
        ("mlebench/competitions", "competitions"),
        "*/config.yaml",
        "a checkout of MLE-bench (prepared data alone has no graders: give its folder as --data)",
    )
    place = data or platformdirs.user_cache_path() / "mle-bench" / "data"
    ids = [path.parent.name for path in home.glob("*/config.yaml")]
    for id_ in task_folder.select_ids(ids, names, home):
        try:
            yield describe_competition(home / id_, place)
        except TaskError as error:
            yield SkippedTask(id=id_, reason=str(error))


def describe_competition(home: Path, data: Path) -> FoundTask:
    """Describe one competition. Raises `TaskError`."""
    config = read_config(home / "config.yaml")
    scores = task_folder.read_scores(home / "leaderboard.csv", "score")
    module, _ = function_reference(config, "preparer")
    preparing_code = home.parents[2].joinpath(*module.split(".")).with_suffix(".py")
    answers = prepared_path(config, "answers", "private")
    return FoundTask(
        benchmark=BENCHMARK,
        id=config["id"],
        home=home,
        name=config["name"],
        summary=f"{config['name']}: a Kaggle competition, prepared by MLE-bench.",
        description=task_folder.read_text(home.parents[2] / config["description"]),
        metric=config["grader.name"],
        higher_is_better=not float(scores[0]) < float(scores[-1]),
        licence=f"the competition's rules: https://www.kaggle.com/c/{config['id']}/rules",
        places=[
            data / config["id"] / "prepared" / "private" / answers,
            data / config["id"] / "raw",
        ],
        todo=f"run `mlebench prepare -c {config['id']}`, or import again with --data FOLDER",
        board=SourceLeaderboard(kind="human", public=scores, private=scores),
        competition=task_folder.kaggle_competition(config["id"]),
        preparing_code=task_folder.read_text(preparing_code).encode(),
    )


KEYS = ["id", "name", "description", "preparer"]
KEYS += ["dataset.answers", "dataset.sample_submission", "grader.name", "grader.grade_fn"]


def read_config(path: Path) -> dict[str, str]:
    """Read the required keys of a config.yaml; a nested key is `outer.inner`.

    The keys are plain `key: value` lines, nested at most one level deep, so no YAML package is
    needed.

    Raises:
        TaskError: a required key is missing.
    """
    config: dict[str, str] = {}
    prefix = ""
    for line in task_folder.read_text(path).splitlines():
        key, colon, value = line.partition(":")
        if not colon or line.lstrip().startswith(("#", "-")):
            continue
        if not line.startswith(" "):
            prefix = "" if value.strip() else f"{key.strip()}."
            config[key.strip()] = parse_scalar(value)
        elif prefix:
            config[prefix + key.strip()] = parse_scalar(value)
    for key in KEYS:
        if not config.get(key):
            raise TaskError(f"{path}: the key {key} is missing")
    return config


def parse_scalar(value: str) -> str:
    """Parse a YAML scalar on one line: remove its quotes or its comment."""
    text = value.strip()
    if text[:1] in ("'", '"'):
        try:
            return str(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            return text.strip("'\"")
    return text.partition(" #")[0].strip()


def function_reference(config: Mapping[str, str], key: str) -> tuple[str, str]:
    """Split `package.module:function` into module and function name. Raises `TaskError`."""
    module, colon, name = config[key].partition(":")
    if not (module and colon and name):
        raise TaskError(f"config.yaml: {key} is {config[key]!r}; expected module:function")
    return module, name


def prepared_path(config: Mapping[str, str], key: str, part: str) -> str:
    """Return a data file's path relative to `<id>/prepared/<part>`. Raises `TaskError`."""
    path = PurePosixPath(config[f"dataset.{key}"])
    if path.parts[1:3] != ("prepared", part):
        raise TaskError(f"config.yaml: dataset.{key} is {path}; expected ID/prepared/{part}/FILE")
    return str(PurePosixPath(*path.parts[3:]))


# ── in the process that prepares or grades ────────────────────────────────────────────────


def load_function(home: Path, module: str, name: str) -> Any:
    """Import a function of the checkout, with shims in place of its own package's helpers."""
    external_code.add_shims_to_path()
    package = importlib.import_module("mlebench")
    package.__path__.append(str(home.parents[1]))
    with external_code.explain_missing_package(home):
        return getattr(importlib.import_module(module), name)


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """Prepare a competition's data.

    Prepared data of MLE-bench is linked or copied. Raw files are copied and passed to the
    competition's prepare function.
    """
    config = read_config(home / "config.yaml")
    answers = prepared_path(config, "answers", "private")
    if raw.name == "raw":
        with external_code.temporary_copy(raw, public) as raw_copy:
            run = load_function(home, *function_reference(config, "preparer"))
            run(raw=raw_copy, public=public, private=private)
    else:
        prepared = raw.parents[len(PurePosixPath(answers).parts)]
        external_code.link_folder(prepared / "public", public)
        external_code.link_folder(prepared / "private", private)
    check_checksums(home / "checksums.yaml", {"public": public, "private": private})
    external_code.require_file(private, answers)
    sample = PurePosixPath(config["dataset.sample_submission"])
    # Some competitions keep the sample submission private.
    folder = {"public": public, "private": private}[sample.parts[2]]
    sample_file = external_code.require_file(folder, str(PurePosixPath(*sample.parts[3:])))
    for target in {folder, private}:
        if sample_file != target / SAMPLE:
            external_code.replace_file(sample_file, target / SAMPLE)


def check_checksums(path: Path, parts: Mapping[str, Path]) -> None:
    """Compare prepared files with the MD5 in a competition's checksums.yaml, if it has that file.

    MLE-bench records the tables directly in `public` and `private`, one line `  name: MD5` each.

    Raises:
        TaskError: a file is missing or differs.
    """
    if not path.is_file():
        return
    part = ""
    for line in task_folder.read_text(path).splitlines():
        name, _, value = line.rpartition(":")
        if not line.startswith(" "):
            part = name.strip() if not value.strip() else ""
        elif part in parts:
            file, expected = parts[part] / parse_scalar(name), parse_scalar(value)
            found = md5_of(file) if file.is_file() else "missing"
            if found != expected:
                raise TaskError(
                    f"{part}/{file.name} is not what MLE-bench prepares: its MD5 is {found},"
                    f" {path} expects {expected}; download and prepare the data again"
                )


def md5_of(path: Path) -> str:
    """Compute a file's MD5, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def grade(home: Path, private: Path, submission: Path) -> float:
    """Score a submission with the competition's grader and round as MLE-bench does."""
    config = read_config(home / "config.yaml")
    run = load_function(home, *function_reference(config, "grader.grade_fn"))
    answers = private / prepared_path(config, "answers", "private")

    def score_file(path: Path) -> Any:
        submitted = external_code.read_submission(path, external_code.read_csv)
        return run(submitted, read_answers(answers))

    return round(external_code.score_or_reject(score_file, submission, private / SAMPLE), DECIMALS)


def read_answers(path: Path) -> Any:
    """Read the answers: a CSV table, or the objects of a .jsonl file."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return external_code.read_csv(path)
