"""Import MLAgentBench's benchmarks.

A benchmark is a folder with `env/`, the agent's files, and `scripts/`, which contains `eval.py`.
Its `get_score(folder)` reads `submission.csv` in a folder. A benchmark that judges a saved model,
or that has no score, is skipped. The metric's direction comes from `plot.py`, which draws
MLAgentBench's figures and lists the benchmarks where lower is better. There is no leaderboard.
A `prepare.py` that asks for consent at a terminal is never run here.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_env.authoring.importers import external_code, task_folder
from kernel_env.authoring.importers.task_folder import FoundTask, SkippedTask
from kernel_env.errors import TaskError

BENCHMARK = "mlagentbench"
LOWER = "lower_the_better_tasks"
SUBMISSION = "submission.csv"
ANSWERS = "answer.csv"
"""Where most benchmarks keep their answers, in the form of a submission."""
TORCH = "mlagentbench-torch"
"""The environment, 4 GB larger, of benchmarks whose code imports one of `TORCH_MODULES`."""
TORCH_MODULES = {"ogb", "torch", "torch_geometric", "torchvision"}
PREPARED = "prepared"
"""The file that MLAgentBench writes into `scripts` after `prepare.py` has run."""
PREPARE_S = 1800
UNFIT = {
    "vectorization": "its score is a run time that the agent's own program writes down",
    "fathomnet": "half of its score comes from random numbers, drawn anew at each grading",
    "imdb": "its programs download data from a hub while they run, and sandboxes have no network",
}
"""Benchmarks that are not imported, with the reason."""


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[FoundTask | SkippedTask]:
    """Find the benchmarks of a checkout.

    Args:
        path: the checkout, or its folder of benchmarks.
        data: another folder of benchmarks that contains the data; None: the checkout's own.
        names: names of benchmarks; empty: all.

    Raises:
        UsageError: `path` is no checkout, or a name is unknown.
    """
    home = task_folder.find_tasks_folder(
        path,
        ("MLAgentBench/benchmarks", "benchmarks"),
        "*/scripts/research_problem.txt",
        "a checkout of MLAgentBench",
    )
    ids = [path.parents[1].name for path in home.glob("*/scripts/research_problem.txt")]
    for id_ in task_folder.select_ids(ids, names, home):
        try:
            yield describe_benchmark(home / id_, (data or home) / id_, home.parent / "plot.py")
        except TaskError as error:
            yield SkippedTask(id=id_, reason=str(error))


def describe_benchmark(home: Path, data: Path, plot: Path) -> FoundTask:
    """Describe one benchmark. Raises `TaskError`."""
    if home.name in UNFIT:
        raise TaskError(UNFIT[home.name])
    code = home / "scripts" / "eval.py"
    if not code.is_file():
        raise TaskError("it has no eval.py, and so no score")
    if SUBMISSION not in string_constants(code):
        raise TaskError(
            f"its eval.py reads no {SUBMISSION}: it judges a model that the agent saves"
        )
    lower = [name.lower() for name in lower_is_better(plot)]
    places, todo = [data], "import again with --data FOLDER"
    prepare_py = home / "scripts" / "prepare.py"
    if prepare_py.is_file() and "input" in called_functions(prepare_py):
        places = [data / "scripts" / PREPARED]
        todo = (
            f"run `python -u -m MLAgentBench.prepare_task {home.name}` in the checkout: its"
            " prepare.py asks you to consent to a competition's rules"
        )
    return FoundTask(
        benchmark=BENCHMARK,
        id=home.name,
        home=home,
        name=home.name,
        summary=f"{home.name}: improve a machine-learning program, from MLAgentBench.",
        description=description(home),
        metric="MLAgentBench's eval.py",
        higher_is_better=not any(name in home.name.lower() for name in lower),
        licence="see the task's data",
        places=places,
        todo=todo,
        board=None,
        environment=TORCH if needs_torch(home) else None,
        preparing_code=prepare_py.read_bytes() if prepare_py.is_file() else b"",
    )


def description(home: Path) -> str:
    """Return the research problem with a note about where its files are."""
    read_only = home / "scripts" / "read_only_files.txt"
    names = task_folder.read_text(read_only).split() if read_only.is_file() else []
    data = f" MLAgentBench declares these files read-only: {', '.join(names)}." if names else ""
    problem = task_folder.read_text(home / "scripts" / "research_problem.txt").strip()
    return DESCRIPTION.format(id=home.name, problem=problem, data=data)


DESCRIPTION = """\
# {id}

{problem}

## Files

The files of this problem are in the data folder, which is read-only: copy what you want to
change or run into your own folder.{data} Write `submission.csv` to the output path.
"""


def string_constants(path: Path) -> set[Any]:
    """Return the string constants of a program."""
    nodes = (
        node for node in ast.walk(task_folder.parse_python(path)) if isinstance(node, ast.Constant)
    )
    return {node.value for node in nodes if isinstance(node.value, str)}


def needs_torch(home: Path) -> bool:
    """Return whether a benchmark's eval.py or prepare.py imports PyTorch, also through `env`."""
    scripts = (home / "scripts" / name for name in ("eval.py", "prepare.py"))
    names = {name for path in scripts if path.is_file() for name in imported_modules(path)}
    own = (home / "env" / f"{name}.py" for name in names)
    names |= {name for path in own if path.is_file() for name in imported_modules(path)}
    return bool(names & TORCH_MODULES)


def imported_modules(path: Path) -> set[str]:
    """Return the top-level names of the modules that a program imports."""
    names: set[str] = set()
    for node in ast.walk(task_folder.parse_python(path)):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.partition(".")[0])
    return names


def called_functions(path: Path) -> set[str]:
    """Return the names of the functions that a program calls."""
    nodes = (
        node for node in ast.walk(task_folder.parse_python(path)) if isinstance(node, ast.Call)
    )
    return {ast.unparse(node.func) for node in nodes}


def lower_is_better(plot: Path) -> list[str]:
    """Return the benchmarks that plot.py lists as lower-is-better. Raises `TaskError`."""
    for node in task_folder.parse_python(plot).body:
        if isinstance(node, ast.Assign) and LOWER in map(ast.unparse, node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    raise TaskError(f"{plot} has no list {LOWER}: the metrics' directions are unknown")


# ── in the process that prepares or grades ────────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """Copy the benchmark to `private`, run its `prepare.py`, and copy `env` to `public`.

    `private` gets the whole benchmark because `eval.py` reads other files of its folder.
    """
    source = raw.parents[1] if raw.name == PREPARED else raw
    external_code.copy_folder(source, private)
    if source != home:
        external_code.copy_folder(home / "scripts", private / "scripts")
    scripts = private / "scripts"
    if (scripts / "prepare.py").is_file() and not (scripts / PREPARED).is_file():
        done = subprocess.run(
            [sys.executable, "prepare.py"],
            cwd=scripts,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PREPARE_S,
            check=False,
        )
        if done.returncode:
            last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise TaskError(f"{home / 'scripts' / 'prepare.py'} failed: {last_line}")
    external_code.copy_folder(private / "env", public)


def grade(home: Path, private: Path, submission: Path) -> float:  # noqa: ARG001
    """Call `get_score` from `env`, where `prepare.py` left what it downloaded.

    Some `eval.py` open a data set by a path relative to the working directory, and download it
    if it is not there.
    """
    scripts = private / "scripts"
    os.chdir(private / "env")
    get_score = external_code.load_module(scripts / "eval.py").get_score

    def score_file(path: Path) -> Any:
        work_dir = submission.parent / path.stem
        work_dir.mkdir(exist_ok=True)
        (work_dir / SUBMISSION).write_bytes(path.read_bytes())
        return get_score(str(work_dir))

    answers = scripts / ANSWERS
    known_good = answers if answers.is_file() else None
    return external_code.score_or_reject(score_file, submission, known_good)
