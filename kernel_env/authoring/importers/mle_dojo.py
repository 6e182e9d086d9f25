"""MLE-Dojo's competition folders: `info/` with two human leaderboards, `utils/` with its code.

A metric is one subclass of `mledojo.metrics.base.CompetitionMetrics`; its direction is read
from the source, for running it is for the grading process. Data is what MLE-Dojo prepared
(`<data>/<id>/data/{public,private}`), what it downloaded (`<data>/<id>/raw`), or, for those
whose `prepare.py` is an empty stub, what DSBench gives away.
"""

import ast
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_env.authoring.importers import dsbench, external_code, task_folder
from kernel_env.authoring.importers.external_code import SAMPLE
from kernel_env.authoring.importers.task_folder import Board, Found, Left
from kernel_env.errors import TaskError

BENCHMARK = "mle-dojo"
BASE = "CompetitionMetrics"
ANSWERS = "test_answer.csv"
DOMAINS = {
    "Image": "vision",
    "Computer Vision": "vision",
    "Text": "language",
    "NLP": "language",
    "Time Series Analysis": "time series",
    "Tabular": "tabular",
}
"""Of Kaggle's tags, the first that is there."""
KINDS = ["Binary Classification", "Multiclass Classification", "Multilabel Classification"]
KINDS += ["Regression"]


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[Found | Left]:
    """Every competition of a checkout. Raises `UsageError`."""
    home = task_folder.root(
        path,
        ("mledojo/competitions", "competitions"),
        "*/utils/metric.py",
        "a checkout of MLE-Dojo (prepared data alone has no metrics: give its folder as --data)",
    )
    checkout = home.parents[1]
    about = facts(checkout / "prepare")
    ids = [path.parents[1].name for path in home.glob("*/utils/metric.py")]
    for id_ in task_folder.chosen(ids, names, home):
        try:
            yield competition(home / id_, checkout, data, about.get(id_, {}))
        except TaskError as error:
            yield Left(id=id_, why=str(error))


def competition(home: Path, checkout: Path, data: Path | None, about: dict[str, Any]) -> Found:
    """One competition. Raises `TaskError`."""
    info, code = home / "info", home / "utils"
    tags = about.get("tags", [])
    metric, higher_is_better = direction(code / "metric.py")
    preparing = task_folder.read(code / "prepare.py")
    rules = json.loads(about["rules"]) if "rules" in about else None
    place = data or checkout / "data" / "prepared"
    places, todo = [place / home.name / "data" / "private" / ANSWERS], ""
    downloads = None
    if is_stub(code / "prepare.py", preparing):
        places += dsbench.places(place, home.name)
        todo = (
            "its prepare.py is an empty stub, because MLE-Dojo takes this data from DSBench: run"
            " MLE-Dojo's prepare/dsbench.py, or import again with --data FOLDER, where DSBench's"
            " data.zip was unpacked"
        )
    else:
        places += [place / home.name / "raw"]
        downloads = task_folder.on_kaggle(home.name)
        todo = (
            f"run MLE-Dojo's prepare/mle.py --competitions {home.name} --data-dir {place},"
            " or import again with --data FOLDER"
        )
    return Found(
        benchmark=BENCHMARK,
        id=home.name,
        home=home,
        name=about.get("title", home.name),
        summary=f"{about.get('title', home.name)}: a Kaggle competition, prepared by MLE-Dojo.",
        description=task_folder.read(info / "description.txt"),
        metric=metric,
        higher_is_better=higher_is_better,
        licence=f"the competition's rules: {rules}" if rules else "the competition's rules",
        places=places,
        todo=todo,
        competition=downloads,
        board=Board(
            kind="human",
            public=task_folder.scores(info / "public_leaderboard.csv", 1),
            private=task_folder.scores(info / "private_leaderboard.csv", 1),
        ),
        domain=next((DOMAINS[tag] for tag in DOMAINS if tag in tags), task_folder.UNKNOWN),
        kind=next((kind.lower() for kind in KINDS if kind in tags), task_folder.UNKNOWN),
        made_from=preparing.encode(),
    )


def facts(where: Path) -> dict[str, dict[str, Any]]:
    """Title, tags and the rules' address of each competition, as far as the checkout has them."""
    known: dict[str, dict[str, Any]] = {}
    for name in ("dsbench.json", "mle.json"):
        if (where / name).is_file():
            known |= json.loads(task_folder.read(where / name))
    if (where / "licenses.json").is_file():
        for id_, address in json.loads(task_folder.read(where / "licenses.json")).items():
            known[id_] = {**known.get(id_, {}), "rules": json.dumps(address)}
    return known


def direction(path: Path) -> tuple[str, bool]:
    """The metric's class and whether more is better, read and not run. Raises `TaskError`."""
    for statement in parsed(path).body:
        if isinstance(statement, ast.ClassDef) and BASE in map(ast.unparse, statement.bases):
            for method in statement.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    default = defaults(method.args).get("higher_is_better")
                    if isinstance(default, bool):
                        return statement.name, default
            raise TaskError(f"{path}: {statement.name} does not say its higher_is_better")
    raise TaskError(f"{path} has no subclass of {BASE}")


def parsed(path: Path) -> ast.Module:
    """A Python file as a tree. Raises `TaskError`."""
    try:
        return ast.parse(task_folder.read(path))
    except SyntaxError as error:
        raise TaskError(f"{path} is not Python: {error}") from error


def defaults(arguments: ast.arguments) -> dict[str, Any]:
    """The constants that arguments have as defaults."""
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(last, arguments.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    return {a.arg: d.value for a, d in pairs if isinstance(d, ast.Constant)}


def is_stub(path: Path, text: str) -> bool:
    """Whether a `prepare.py` has no function `prepare`."""
    if "prepare" not in text:
        return True
    functions = (node for node in parsed(path).body if isinstance(node, ast.FunctionDef))
    return not any(function.name == "prepare" for function in functions)


# ── in the preparing and the grading process ──────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """What MLE-Dojo prepared, or what its prepare function makes of a copy of the raw files."""
    if raw.name == ANSWERS:
        external_code.copy(raw.parents[1] / "public", public)
        external_code.copy(raw.parent, private)
    elif raw.parent.name == dsbench.DATA:
        dsbench.take(raw, public, private)
    else:
        with external_code.copied(raw, public) as scrap:
            external_code.load(home / "utils" / "prepare.py").prepare(scrap, public, private)
    external_code.made(private, ANSWERS)
    shutil.copyfile(external_code.made(public, SAMPLE), private / SAMPLE)


def grade(home: Path, private: Path, submission: Path) -> float:
    """Validate and evaluate, as MLE-Dojo does."""
    import pandas as pd

    module = external_code.load(home / "utils" / "metric.py")
    base = getattr(module, BASE)
    classes = [it for it in vars(module).values() if isinstance(it, type) and issubclass(it, base)]
    (metric,) = [it for it in classes if it is not base]

    def score(path: Path) -> Any:
        mine = metric()
        said, truth = external_code.table(path, pd.read_csv), pd.read_csv(private / ANSWERS)
        mine.validate_submission(said, truth)
        return mine.evaluate(truth, said)

    return external_code.judged(score, submission, private / SAMPLE)
