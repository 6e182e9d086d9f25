"""DSBench's data modeling tasks: `evaluation/<id>_eval.py`, and `data.zip` once it is unpacked.

Its data folder holds `data_resplit/<id>/` (train, test and sample submission),
`answers/<id>/test_answer.csv` and `task/<id>.txt`, the description. Nothing says a metric's
direction; DSBench reads it from its own results, and so do we: the answers themselves
(`save_performance/GT`) are better than its baseline.
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
from kernel_env.authoring.importers.task_folder import Board, Found, Left
from kernel_env.errors import TaskError

BENCHMARK = "dsbench"
DATA, ANSWERS = "data_resplit", "test_answer.csv"
PROGRAM = "_eval.py"
RESULTS = "save_performance"
TRUTH, BASELINE = "GT", "baseline"


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[Found | Left]:
    """Every data modeling task of a checkout. Raises `UsageError`."""
    home = task_folder.root(
        path, ("data_modeling",), f"evaluation/*{PROGRAM}", "a checkout of DSBench"
    )
    results = performance(home)
    programs = {
        program.name.removesuffix(PROGRAM): program
        for program in home.glob(f"evaluation/*{PROGRAM}")
    }
    for id_ in task_folder.chosen(programs, names, home / "evaluation"):
        try:
            yield competition(programs[id_], data or home / "data", results)
        except TaskError as error:
            yield Left(id=id_, why=str(error))


def competition(program: Path, data: Path, results: dict[str, dict[str, str]]) -> Found:
    """One task. Raises `TaskError`."""
    id_ = program.name.removesuffix(PROGRAM)
    said = {who: scores[id_] for who, scores in results.items() if is_score(scores.get(id_))}
    if TRUTH not in said or BASELINE not in said:
        raise TaskError(
            f"nothing says whether more is better: {RESULTS} lacks its {TRUTH} and its {BASELINE}"
        )
    higher = float(said[TRUTH]) > float(said[BASELINE])
    entries = sorted(
        ((who, score) for who, score in said.items() if who != TRUTH),
        key=lambda entry: float(entry[1]),
        reverse=higher,
    )
    scores = [score for _, score in entries]
    unpacked = [place.parents[1] / "task" / f"{id_}.txt" for place in places(data, id_)]
    told = next(
        (task_folder.read(text) for text in unpacked if text.is_file()), UNTOLD.format(id=id_)
    )
    return Found(
        benchmark=BENCHMARK,
        id=id_,
        home=program,
        name=id_,
        summary=f"{id_}: a Kaggle competition, split anew by DSBench.",
        description=told,
        metric="DSBench's evaluation program",
        higher_is_better=higher,
        licence="the competition's rules; DSBench: for education and research, not commercial",
        places=places(data, id_),
        todo="unpack DSBench's data.zip in its data_modeling folder, or anywhere else,"
        " and import again with --data FOLDER; its descriptions are in there too",
        board=Board(
            kind="published", public=scores, private=scores, names=[who for who, _ in entries]
        ),
        domain="tabular",
    )


UNTOLD = """\
# {id}

A Kaggle competition, split anew by DSBench. Its description comes with DSBench's data: unpack
that, and import the task again.
"""


def places(data: Path, id_: str) -> list[Path]:
    """Where a task's data may be: the folder of an unpacked data.zip has its own name inside."""
    return [data / DATA / id_, data / "data" / DATA / id_]


def performance(home: Path) -> dict[str, dict[str, str]]:
    """Each model's results by task: from the folder, or from the archive that is in the clone."""
    packed = home / f"{RESULTS}.zip"
    found: dict[str, dict[str, str]] = {}
    for path in home.glob(f"{RESULTS}/*/*/result.txt"):
        found.setdefault(path.parents[1].name, {})[path.parent.name] = task_folder.read(path)
    if not found and packed.is_file():
        with zipfile.ZipFile(packed) as archive:
            for name in archive.namelist():
                match name.split("/"):
                    case [first, who, id_, "result.txt"] if first == RESULTS:
                        found.setdefault(who, {})[id_] = archive.read(name).decode()
    return found


def is_score(text: str | None) -> bool:
    """Whether a result is a number: those of failed runs are not."""
    return text is not None and external_code.is_number(text)


# ── in the preparing and the grading process ──────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:  # noqa: ARG001
    """Take the data as DSBench gives it."""
    take(raw, public, private)
    shutil.copyfile(public / SAMPLE, private / SAMPLE)


def take(raw: Path, public: Path, private: Path) -> None:
    """The tables for the agent and the answers; the sample submission made to fit these rows."""
    external_code.copy(raw, public)
    shutil.copyfile(raw.parents[1] / "answers" / raw.name / ANSWERS, private / ANSWERS)
    given = sorted(public.glob("*ubmission*.csv")) or sorted(public.glob("sample*.csv"))
    if not given:
        raise TaskError(f"{raw} has no sample submission")
    given[0].rename(public / SAMPLE)
    fit(public / SAMPLE, private / ANSWERS)


def fit(sample: Path, answers: Path) -> None:
    """Give a sample submission the rows of the answers.

    DSBench splits anew, and leaves the competition's own sample as it is. Where both have the
    same columns, the sample's first row is said for every id of the answers.
    """
    wanted, found = table(answers), table(sample)
    if wanted[:1] != found[:1] or len(found) < 2 or ids(wanted) == ids(found):
        return
    rows = [wanted[0], *([line[0], *found[1][1:]] for line in wanted[1:])]
    with sample.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def table(path: Path) -> list[list[str]]:
    """The lines of a CSV file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line for line in csv.reader(io.StringIO(text, newline="")) if line]


def ids(lines: list[list[str]]) -> list[str]:
    """The first column."""
    return [line[0] for line in lines[1:]]


def grade(home: Path, private: Path, submission: Path) -> float:
    """Run the evaluation as the program it is, and read the result that it writes."""
    results = submission.parent / "results"
    (results / "it").mkdir(parents=True)

    def score(path: Path) -> Any:
        options = {"path": results, "name": "it", "answer_file": private / ANSWERS}
        options |= {"predict_file": path}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        external_code.table(path, external_code.read_csv)
        sys.argv = [str(home), *words]
        with external_code.importing(home):
            runpy.run_path(str(home), run_name="__main__")
        return (results / "it" / "result.txt").read_text()

    return external_code.judged(score, submission, private / ANSWERS)
