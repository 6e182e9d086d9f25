"""Import DSBench's data modeling tasks.

A task is a program `evaluation/<id>_eval.py`. The data folder, unpacked from `data.zip`,
contains `data_resplit/<id>/` (training set, test set and sample submission),
`answers/<id>/test_answer.csv` and `task/<id>.txt`, the description.

DSBench does not record a metric's direction. It derives the direction from its own results, and
so does this module: the score of the answers (`save_performance/GT`) is better than the
baseline's.
"""

import csv
import io
import runpy
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_env.authoring.importers import external_code, task_folder
from kernel_env.authoring.importers.external_code import SAMPLE
from kernel_env.authoring.importers.task_folder import FoundTask, SkippedTask, SourceLeaderboard
from kernel_env.errors import TaskError

BENCHMARK = "dsbench"
DATA, ANSWERS = "data_resplit", "test_answer.csv"
PROGRAM = "_eval.py"
RESULTS = "save_performance"
TRUTH, BASELINE = "GT", "baseline"


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[FoundTask | SkippedTask]:
    """Find the data modeling tasks of a checkout.

    Args:
        path: the checkout, or its folder `data_modeling`.
        data: the folder where data.zip was unpacked; None: `data` beside the programs' folder.
        names: ids of tasks; empty: all.

    Raises:
        UsageError: `path` is no checkout, or a name is unknown.
    """
    home = task_folder.find_tasks_folder(
        path, ("data_modeling",), f"evaluation/*{PROGRAM}", "a checkout of DSBench"
    )
    results = read_results(home)
    programs = {
        program.name.removesuffix(PROGRAM): program
        for program in home.glob(f"evaluation/*{PROGRAM}")
    }
    for id_ in task_folder.select_ids(programs, names, home / "evaluation"):
        try:
            yield describe_task(programs[id_], data or home / "data", results)
        except TaskError as error:
            yield SkippedTask(id=id_, reason=str(error))


def describe_task(program: Path, data: Path, results: dict[str, dict[str, str]]) -> FoundTask:
    """Describe one task. Raises `TaskError`."""
    id_ = program.name.removesuffix(PROGRAM)
    by_model = {
        model: scores[id_] for model, scores in results.items() if is_score(scores.get(id_))
    }
    if TRUTH not in by_model or BASELINE not in by_model:
        raise TaskError(f"the metric's direction is unknown: {RESULTS} lacks {TRUTH} or {BASELINE}")
    higher = float(by_model[TRUTH]) > float(by_model[BASELINE])
    entries = sorted(
        ((model, score) for model, score in by_model.items() if model != TRUTH),
        key=lambda entry: float(entry[1]),
        reverse=higher,
    )
    scores = [score for _, score in entries]
    texts = [place.parents[1] / "task" / f"{id_}.txt" for place in data_places(data, id_)]
    description = next(
        (task_folder.read_text(text) for text in texts if text.is_file()),
        MISSING_DESCRIPTION.format(id=id_),
    )
    return FoundTask(
        benchmark=BENCHMARK,
        id=id_,
        home=program,
        name=id_,
        summary=f"{id_}: a Kaggle competition, split anew by DSBench.",
        description=description,
        metric="DSBench's evaluation program",
        higher_is_better=higher,
        licence="the competition's rules; DSBench: for education and research, not commercial",
        places=data_places(data, id_),
        todo="unpack DSBench's data.zip in its data_modeling folder, or anywhere else,"
        " and import again with --data FOLDER; it contains the descriptions too",
        board=SourceLeaderboard(
            kind="published", public=scores, private=scores, names=[model for model, _ in entries]
        ),
        domain="tabular",
    )


MISSING_DESCRIPTION = """\
# {id}

A Kaggle competition, split anew by DSBench. Its description comes with DSBench's data: unpack
that, and import the task again.
"""


def data_places(data: Path, id_: str) -> list[Path]:
    """Return the paths where a task's data can be.

    An unpacked data.zip contains a folder named `data`, so the data can be one level deeper.
    """
    return [data / DATA / id_, data / "data" / DATA / id_]


def read_results(home: Path) -> dict[str, dict[str, str]]:
    """Read DSBench's own results from its folder, or from the zip archive in the checkout.

    Returns:
        A dict from model to a dict from task id to the text of the score.

    Raises:
        TaskError: the archive is broken.
    """
    packed = home / f"{RESULTS}.zip"
    results: dict[str, dict[str, str]] = {}
    for path in home.glob(f"{RESULTS}/*/*/result.txt"):
        results.setdefault(path.parents[1].name, {})[path.parent.name] = task_folder.read_text(path)
    if not results and packed.is_file():
        try:
            with zipfile.ZipFile(packed) as archive:
                for name in archive.namelist():
                    match name.split("/"):
                        case [first, model, id_, "result.txt"] if first == RESULTS:
                            text = archive.read(name).decode(errors="replace")
                            results.setdefault(model, {})[id_] = text
        except (OSError, zipfile.BadZipFile) as error:
            raise TaskError(f"{packed}: {error}; check the checkout out again") from error
    return results


def is_score(text: str | None) -> bool:
    """Return whether a result is a number; a failed run's result is not."""
    return text is not None and external_code.is_number(text)


# ── in the process that prepares or grades ────────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:  # noqa: ARG001
    """Copy the data as DSBench publishes it."""
    copy_data(raw, public, private)
    shutil.copyfile(public / SAMPLE, private / SAMPLE)


def copy_data(raw: Path, public: Path, private: Path) -> None:
    """Copy the agent's tables and the answers, and fit the sample submission to the answers."""
    external_code.copy_folder(raw, public)
    shutil.copyfile(raw.parents[1] / "answers" / raw.name / ANSWERS, private / ANSWERS)
    samples = sorted(public.glob("*ubmission*.csv")) or sorted(public.glob("sample*.csv"))
    if not samples:
        raise TaskError(f"{raw} has no sample submission")
    samples[0].rename(public / SAMPLE)
    fit_sample(public / SAMPLE, private / ANSWERS)


def fit_sample(sample: Path, answers: Path) -> None:
    """Rewrite a sample submission so that it has the rows of the answers.

    DSBench splits the data anew but keeps the competition's own sample submission. If both files
    have the same columns, the values of the sample's first row are repeated for every id.
    """
    expected, current = read_rows(answers), read_rows(sample)
    if (
        expected[:1] != current[:1]
        or len(current) < 2
        or first_column(expected) == first_column(current)
    ):
        return
    rows = [expected[0], *([row[0], *current[1][1:]] for row in expected[1:])]
    with sample.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_rows(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file, the header first, without blank lines."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def first_column(rows: list[list[str]]) -> list[str]:
    """Return the first column without its header."""
    return [row[0] for row in rows[1:]]


def grade(home: Path, private: Path, submission: Path) -> float:
    """Run the evaluation program and read the result file that it writes."""
    results = submission.parent / "results"
    (results / "it").mkdir(parents=True)

    def score_file(path: Path) -> Any:
        options = {"path": results, "name": "it", "answer_file": private / ANSWERS}
        options |= {"predict_file": path}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        external_code.read_submission(path, external_code.read_csv)
        sys.argv = [str(home), *words]
        with external_code.explain_missing_package(home):
            runpy.run_path(str(home), run_name="__main__")
        return (results / "it" / "result.txt").read_text()

    return external_code.score_or_reject(score_file, submission, private / ANSWERS)
