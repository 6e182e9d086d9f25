"""Import MLE-Dojo's competitions.

A competition is a folder with `info/`, which contains two human leaderboards, and `utils/`,
which contains the code. Its metric is one subclass of `mledojo.metrics.base.CompetitionMetrics`.
The import reads the metric's direction from the source and does not run it; only the grading
process does.

The data is, in this order, what MLE-Dojo prepared (`<data>/<id>/data/{public,private}`), what
DSBench publishes if the competition's `prepare.py` is an empty stub, or what MLE-Dojo downloaded
(`<data>/<id>/raw`).
"""

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_env.authoring.importers import dsbench, external_code, task_folder
from kernel_env.authoring.importers.external_code import SAMPLE
from kernel_env.authoring.importers.task_folder import FoundTask, SkippedTask, SourceLeaderboard
from kernel_env.errors import TaskError

BENCHMARK = "mle-dojo"
METRIC_BASE = "CompetitionMetrics"
ANSWERS = "test_answer.csv"
DOMAINS = {
    "Image": "vision",
    "Computer Vision": "vision",
    "Text": "language",
    "NLP": "language",
    "Time Series Analysis": "time series",
    "Tabular": "tabular",
}
"""The domain for each of Kaggle's tags; the first one that a competition has decides."""
KINDS = ["Binary Classification", "Multiclass Classification", "Multilabel Classification"]
KINDS += ["Regression"]


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[FoundTask | SkippedTask]:
    """Find the competitions of a checkout.

    Args:
        path: the checkout, or its folder of competitions.
        data: the folder with prepared or downloaded data; None: `data/prepared` in the checkout.
        names: ids of competitions; empty: all.

    Raises:
        UsageError: `path` is no checkout, or a name is unknown.
    """
    home = task_folder.find_tasks_folder(
        path,
        ("mledojo/competitions", "competitions"),
        "*/utils/metric.py",
        "a checkout of MLE-Dojo (prepared data alone has no metrics: give its folder as --data)",
    )
    checkout = home.parents[1]
    facts = read_facts(checkout / "prepare")
    ids = [path.parents[1].name for path in home.glob("*/utils/metric.py")]
    for id_ in task_folder.select_ids(ids, names, home):
        try:
            yield describe_competition(home / id_, checkout, data, facts.get(id_, {}))
        except TaskError as error:
            yield SkippedTask(id=id_, reason=str(error))


def describe_competition(
    home: Path, checkout: Path, data: Path | None, facts: dict[str, Any]
) -> FoundTask:
    """Describe one competition. Raises `TaskError`."""
    info, code = home / "info", home / "utils"
    tags = facts.get("tags", [])
    metric, higher_is_better = metric_direction(code / "metric.py")
    preparing_code = task_folder.read_text(code / "prepare.py")
    rules = json.loads(facts["rules"]) if "rules" in facts else None
    place = data or checkout / "data" / "prepared"
    places, todo = [place / home.name / "data" / "private" / ANSWERS], ""
    kaggle_competition = None
    if is_stub(code / "prepare.py", preparing_code):
        places += dsbench.data_places(place, home.name)
        todo = (
            "its prepare.py is an empty stub, because MLE-Dojo takes this data from DSBench: run"
            " MLE-Dojo's prepare/dsbench.py, or import again with --data FOLDER, where DSBench's"
            " data.zip was unpacked"
        )
    else:
        places += [place / home.name / "raw"]
        kaggle_competition = task_folder.kaggle_competition(home.name)
        todo = (
            f"run MLE-Dojo's prepare/mle.py --competitions {home.name} --data-dir {place},"
            " or import again with --data FOLDER"
        )
    return FoundTask(
        benchmark=BENCHMARK,
        id=home.name,
        home=home,
        name=facts.get("title", home.name),
        summary=f"{facts.get('title', home.name)}: a Kaggle competition, prepared by MLE-Dojo.",
        description=task_folder.read_text(info / "description.txt"),
        metric=metric,
        higher_is_better=higher_is_better,
        licence=f"the competition's rules: {rules}" if rules else "the competition's rules",
        places=places,
        todo=todo,
        competition=kaggle_competition,
        board=SourceLeaderboard(
            kind="human",
            public=task_folder.read_scores(info / "public_leaderboard.csv", 1),
            private=task_folder.read_scores(info / "private_leaderboard.csv", 1),
        ),
        domain=next((DOMAINS[tag] for tag in DOMAINS if tag in tags), task_folder.UNKNOWN),
        kind=next((kind.lower() for kind in KINDS if kind in tags), task_folder.UNKNOWN),
        preparing_code=preparing_code.encode(),
    )


def read_facts(folder: Path) -> dict[str, dict[str, Any]]:
    """Read each competition's title, tags and rules address, where the checkout has them."""
    facts: dict[str, dict[str, Any]] = {}
    for name in ("dsbench.json", "mle.json"):
        if (folder / name).is_file():
            facts |= task_folder.read_json(folder / name)
    if (folder / "licenses.json").is_file():
        for id_, address in task_folder.read_json(folder / "licenses.json").items():
            facts[id_] = {**facts.get(id_, {}), "rules": json.dumps(address)}
    return facts


def metric_direction(path: Path) -> tuple[str, bool]:
    """Read the metric's class name and direction from its source, without running it.

    Raises:
        TaskError: the file has no metric class, or the class has no default direction.
    """
    for statement in task_folder.parse_python(path).body:
        if isinstance(statement, ast.ClassDef) and METRIC_BASE in map(ast.unparse, statement.bases):
            for method in statement.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    default = constant_defaults(method.args).get("higher_is_better")
                    if isinstance(default, bool):
                        return statement.name, default
            raise TaskError(f"{path}: {statement.name} has no default for higher_is_better")
    raise TaskError(f"{path} has no subclass of {METRIC_BASE}")


def constant_defaults(arguments: ast.arguments) -> dict[str, Any]:
    """Return the arguments whose default is a constant, with that constant."""
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(last, arguments.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    return {a.arg: d.value for a, d in pairs if isinstance(d, ast.Constant)}


def is_stub(path: Path, text: str) -> bool:
    """Return whether a `prepare.py` has no function `prepare`."""
    if "prepare" not in text:
        return True
    functions = (
        node for node in task_folder.parse_python(path).body if isinstance(node, ast.FunctionDef)
    )
    return not any(function.name == "prepare" for function in functions)


# ── in the process that prepares or grades ────────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """Prepare a competition's data.

    Prepared data of MLE-Dojo is linked or copied, data of DSBench is copied. Raw files are copied
    and passed to the competition's prepare function.
    """
    if raw.name == ANSWERS:
        external_code.link_folder(raw.parents[1] / "public", public)
        external_code.link_folder(raw.parent, private)
    elif raw.parent.name == dsbench.DATA:
        dsbench.copy_data(raw, public, private)
    else:
        with external_code.temporary_copy(raw, public) as raw_copy:
            module = external_code.load_module(home / "utils" / "prepare.py")
            module.prepare(raw_copy, public, private)
    external_code.require_file(private, ANSWERS)
    external_code.replace_file(external_code.require_file(public, SAMPLE), private / SAMPLE)


def grade(home: Path, private: Path, submission: Path) -> float:
    """Validate and score a submission with the competition's metric class."""
    import pandas as pd

    module = external_code.load_module(home / "utils" / "metric.py")
    base = getattr(module, METRIC_BASE)
    classes = [it for it in vars(module).values() if isinstance(it, type) and issubclass(it, base)]
    (metric_class,) = [it for it in classes if it is not base]

    def score_file(path: Path) -> Any:
        metric = metric_class()
        predicted = external_code.read_submission(path, pd.read_csv)
        answers = pd.read_csv(private / ANSWERS)
        metric.validate_submission(predicted, answers)
        return metric.evaluate(answers, predicted)

    return external_code.score_or_reject(score_file, submission, private / SAMPLE)
