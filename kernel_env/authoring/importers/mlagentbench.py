"""MLAgentBench's benchmark folders: `env/` for the agent, `scripts/` with `eval.py` for us.

`get_score(folder)` reads the `submission.csv` in a folder; a task that is judged by a model it
saves, or by nothing at all, is left out. Nothing in a task says its metric's direction;
`plot.py`, which draws MLAgentBench's figures, lists those of which less is better. There is no
leaderboard. A `prepare.py` that asks for consent at a terminal is never run here.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_env.authoring.importers import external_code, task_folder
from kernel_env.authoring.importers.task_folder import Found, Left
from kernel_env.errors import TaskError

BENCHMARK = "mlagentbench"
LOWER = "lower_the_better_tasks"
SUBMISSION = "submission.csv"
PREPARED = "prepared"
"""The file that MLAgentBench leaves in `scripts` where `prepare.py` has run."""
PREPARE_S = 1800


def find(path: Path, data: Path | None, names: Sequence[str]) -> Iterator[Found | Left]:
    """Every task of a checkout; `data` is another folder of benchmarks. Raises `UsageError`."""
    home = task_folder.root(
        path,
        ("MLAgentBench/benchmarks", "benchmarks"),
        "*/scripts/research_problem.txt",
        "a checkout of MLAgentBench",
    )
    ids = [path.parents[1].name for path in home.glob("*/scripts/research_problem.txt")]
    for id_ in task_folder.chosen(ids, names, home):
        try:
            yield benchmark(home / id_, (data or home) / id_, home.parent / "plot.py")
        except TaskError as error:
            yield Left(id=id_, why=str(error))


def benchmark(home: Path, data: Path, plot: Path) -> Found:
    """One task. Raises `TaskError`."""
    code = home / "scripts" / "eval.py"
    if not code.is_file():
        raise TaskError("it has no eval.py, and so no score")
    if SUBMISSION not in constants(code):
        raise TaskError(
            f"its eval.py reads no {SUBMISSION}: it judges a model that the agent saves"
        )
    lower = [name.lower() for name in less_is_better(plot)]
    places, todo = [data], "import again with --data FOLDER"
    preparing = home / "scripts" / "prepare.py"
    if preparing.is_file() and "input" in calls(preparing):
        places = [data / "scripts" / PREPARED]
        todo = (
            f"run `python -u -m MLAgentBench.prepare_task {home.name}` in the checkout: its"
            " prepare.py asks you to consent to a competition's rules"
        )
    return Found(
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
        made_from=preparing.read_bytes() if preparing.is_file() else b"",
    )


def description(home: Path) -> str:
    """The research problem, and where its files are here."""
    fixed = home / "scripts" / "read_only_files.txt"
    names = task_folder.read(fixed).split() if fixed.is_file() else []
    data = (
        f" MLAgentBench calls these data, not to be changed: {', '.join(names)}." if names else ""
    )
    problem = task_folder.read(home / "scripts" / "research_problem.txt").strip()
    return HERE.format(id=home.name, problem=problem, data=data)


HERE = """\
# {id}

{problem}

## Here

The files that this speaks of are in the data folder, which cannot be written to: copy what you
want to change or run into your own folder.{data} Leave `submission.csv` at the output path.
"""


def tree(path: Path) -> ast.Module:
    """A Python file as a tree. Raises `TaskError`."""
    try:
        return ast.parse(task_folder.read(path))
    except SyntaxError as error:
        raise TaskError(f"{path} is not Python: {error}") from error


def constants(path: Path) -> set[Any]:
    """The texts that stand in a program."""
    nodes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
    return {node.value for node in nodes if isinstance(node.value, str)}


def calls(path: Path) -> set[str]:
    """The names of functions that a program calls."""
    nodes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return {ast.unparse(node.func) for node in nodes}


def less_is_better(plot: Path) -> list[str]:
    """The tasks whose scores are losses, as plot.py lists them. Raises `TaskError`."""
    for node in tree(plot).body:
        if isinstance(node, ast.Assign) and LOWER in map(ast.unparse, node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    raise TaskError(f"{plot} has no list {LOWER}: nothing says whether more is better")


# ── in the preparing and the grading process ──────────────────────────────────────────────


def prepare(home: Path, raw: Path, public: Path, private: Path) -> None:
    """The agent gets `env`; `eval.py` stays in a copy of the whole, which it looks around in."""
    source = raw.parents[1] if raw.name == PREPARED else raw
    external_code.copy(source, private)
    if source != home:
        external_code.copy(home / "scripts", private / "scripts")
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
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise TaskError(f"{home / 'scripts' / 'prepare.py'} failed: {said}")
    external_code.copy(private / "env", public)


def grade(home: Path, private: Path, submission: Path) -> float:  # noqa: ARG001
    """Call `get_score`, from the folder that MLAgentBench calls it from."""
    scripts = private / "scripts"
    os.chdir(scripts)
    score = external_code.load(scripts / "eval.py").get_score

    def of(path: Path) -> Any:
        work_dir = submission.parent / path.stem
        work_dir.mkdir(exist_ok=True)
        (work_dir / SUBMISSION).write_bytes(path.read_bytes())
        return score(str(work_dir))

    return external_code.judged(of, submission, scripts / "answer.csv")
