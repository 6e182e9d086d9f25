"""The code of every guide runs, one block after the other, as a user would paste it."""

import json
import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from kernel_env.suite.driver import run_suite
from kernel_env.suite.plan import plan_suite
from support.cli import run_cli
from support.episodes import SUBMIT_LINE
from support.exports import write
from support.guides import GUIDES
from support.guides import guide_blocks as blocks
from support.records import record
from support.report_runs import made_records, write_records
from support.serving import serving
from support.suite_engine import Recorder, TableEngine, played
from support.suites import write_suite

IN_CONTAINERS = ("async", "jupyter", "reward", "train", "watch")
"""Guides whose Python blocks run in a container; the code of the others is in the example package."""


def run(code: str, folder: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "JUPYTER_DATA_DIR": str(folder / "jupyter"), **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_guide_with_python_is_run() -> None:
    with_python = {path.stem for path in GUIDES.glob("*.md") if blocks(path.stem, "python")}

    assert with_python == {
        *IN_CONTAINERS,
        *("agent", "compare", "feedback", "report", "sandbox", "serve", "suite"),
        "frameworks",  # see tests/frameworks
    }


def test_the_guide_on_agents(tmp_path: Path) -> None:
    (code,) = blocks("agent", "python")
    (command,) = (each for each in blocks("agent", "sh") if "--set" in each)
    (tmp_path / "deeper.py").write_text(code)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for options, status in (("", 0), ("--set depths=3", 1)):
        done = subprocess.run(
            ["sh", "-c", f"{command.strip()} --sandbox local --json {options}"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stderr
        if status:
            assert done.stderr.splitlines()[-1] == "error: depths is 3; give a list"
            continue
        result = json.loads(done.stdout)
        assert (result["steps"], result["submissions"]) == (3, 2)
        assert [step for step, *_ in result["best_by_step"]] == [2, 3]


def test_the_guide_on_feedback(tiny: str, tmp_path: Path) -> None:
    (code,) = blocks("feedback", "python")
    code = code.replace('"adult-income"', f'{tiny!r}, sandbox="local"').replace("> 60", ">= 0")

    run(code, tmp_path)

    (journal,) = tmp_path.glob("runs/*/*/journal.jsonl")
    assert "Try a tenth of the rows first." in journal.read_text()


def test_the_guide_on_comparing_agents(tmp_path: Path) -> None:
    for agent, score in (("baseline", 0.4), ("openai", 0.7)):
        for task in range(6):
            own = record(agent, f"t{task}", score=score + task / 50)
            (tmp_path / "runs" / own.episode).mkdir(parents=True)
            (tmp_path / "runs" / own.episode / "record.json").write_text(json.dumps(own.json()))
    first, second = blocks("compare", "python")

    printed = run(first, tmp_path).splitlines()

    assert printed[-3:-1] == ["openai 0.75 6 of 6 tasks", "baseline 0.45 6 of 6 tasks"]
    assert printed[-1].endswith("the first place is that of openai.")
    assert run(second, tmp_path).splitlines() == ["6 2 0.167", "16 2 0.087", "16 5 0.065"]


@pytest.mark.docker
def test_the_guide_on_rewards(tmp_path: Path) -> None:
    (code,) = blocks("reward", "python")

    assert run(code, tmp_path).split() == ["1.0", "0.0"]


@pytest.mark.slow
@pytest.mark.docker
def test_the_guide_on_asynchronous_code(tmp_path: Path) -> None:
    first, second = blocks("async", "python")

    lines = run(first, tmp_path).splitlines()
    assert lines[0] == "42"
    assert "42" in lines[2]
    assert lines[-1].endswith("trajectory.ipynb None")
    assert run(second, tmp_path).splitlines() == ["['0', '1', '4']"]


@pytest.mark.slow
@pytest.mark.docker
def test_the_guide_on_training(tmp_path: Path) -> None:
    rollouts, many, group = (run(code, tmp_path).splitlines() for code in blocks("train", "python"))

    assert {"1 0.0 ''", "2 0.0 ''"} <= {*rollouts}
    assert rollouts[-1] == "[0.0, 0.0]"
    assert many == ["['0', '1', '4'] True", "[0.0, 0.0, 0.0] ['budget', 'budget', 'budget']"]
    assert group == ["['40', '41', '42', '43']", "4 different random numbers", "1 group"]


@pytest.mark.docker
def test_the_guide_on_watching(tmp_path: Path) -> None:
    (code,) = blocks("watch", "python")

    printed = run(code, tmp_path)

    assert "execute_code by a person" in printed
    assert printed.splitlines()[-1] == "2 steps, 1 of a person"


def test_the_guide_on_suites(tmp_path: Path) -> None:
    suite = plan_suite(write_suite(tmp_path, {"name": "half"}), tmp_path / "suites")
    engine = TableEngine(lambda *_: played())
    run_suite(suite, Recorder(), open_engine=lambda _: nullcontext(engine))
    (code,) = blocks("suite", "python")

    assert run(code, tmp_path) == "half tiny 0 0.5\n"


@pytest.mark.docker
def test_the_guide_on_jupyter_programs(tmp_path: Path) -> None:
    (code,) = blocks("jupyter", "python")
    (command,) = blocks("jupyter", "sh")

    printed = run(code, tmp_path)
    make_input = (
        "import nbformat\n"
        "cell = nbformat.v4.new_code_cell('6 * 7')\n"
        "nbformat.write(nbformat.v4.new_notebook(cells=[cell]), 'input.ipynb')\n"
    )
    papermill = f"import sys; from papermill.cli import papermill; sys.argv = {command.split()}\n"
    run(f"{make_input}{papermill}papermill()", tmp_path)

    assert printed.splitlines()[1] == "[(1, 'lo')]"
    assert "42" in (tmp_path / "output.ipynb").read_text()


def test_the_conformance_example_passes(tmp_path: Path) -> None:
    (code,) = blocks("sandbox", "python")
    (tmp_path / "test_conformance.py").write_text(code)
    source = Path(__file__).parents[1] / "support" / "example_plugin" / "src"

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_conformance.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_the_guides_on_cheats_and_exports(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / "runs" / f"run-{number}", task=f"t{number}", place=0.4 + number / 10)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for code in (blocks("cheats", "sh")[0], blocks("export", "sh")[0]):
        done = subprocess.run(
            ["sh", "-ec", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    assert len(list(tmp_path.glob("runs/*/cheats.json"))) == 6
    counts = [
        sum(
            len((tmp_path / name / f"{split}.jsonl").read_text().splitlines())
            for split in ("train", "valid")
        )
        for name in ("conversations", "transitions")
    ]
    assert counts == [5, 12]
    assert len(list(tmp_path.glob("trajectories/train/*.json"))) == 6


@pytest.mark.slow
@pytest.mark.docker
def test_the_guide_on_verification(tmp_path: Path) -> None:
    script = tmp_path / "actions.json"
    script.write_text(json.dumps([{"kind": "execute_code", "code": SUBMIT_LINE}]))
    env = {
        **os.environ,
        "KERNEL_ENV_TASKS": str(Path(__file__).parents[1] / "support"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def shell(code: str) -> str:
        argv = ["sh", "-ec", code]
        done = subprocess.run(
            argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell(f"kernel-env run tiny --agent scripted --script {script}")
    (folder,) = tmp_path.glob("runs/tiny/*")
    env["RUN"] = str(folder)
    plain, final_only, signed, in_ci = blocks("verify", "sh")

    assert shell(plain).splitlines()[-1].startswith("REPRODUCED")
    assert shell(final_only).splitlines()[-1].startswith("REPRODUCED")
    assert shell(signed).count("signed by SHA256:") == 3
    shell(in_ci)
    assert json.loads((tmp_path / "verification.json").read_text())["verdict"] == "REPRODUCED"


def test_the_guide_on_reports(tmp_path: Path) -> None:
    (code,) = blocks("report", "python")
    write_records(tmp_path / "runs", list(made_records(2, 2)))

    printed = run(code, tmp_path)

    assert printed.split()[:3] == ["mean", "std", "count"]
    assert "task-001" in printed


def test_the_commands_of_the_guide_on_reports(tmp_path: Path) -> None:
    write_records(tmp_path / "runs", list(made_records(1, 2, domains=["tabular"])))
    write_records(tmp_path / "suites", list(made_records(1, 1)))
    lines = [line for block in blocks("report", "sh") for line in block.splitlines()]
    commands = [line.partition("  #")[0] for line in lines if "suites/nightly" not in line]
    assert len(commands) == 4

    for command in commands:
        done = run_cli(*shlex.split(command)[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["mcp", "http"])
def test_the_guide_on_serving(tmp_path: Path, protocol: str) -> None:
    code = dict(zip(("mcp", "http"), blocks("serve", "python"), strict=True))[protocol]
    options = ("--tasks", "adult-income", "--sandbox", "local")
    with serving(protocol, *options, runs=tmp_path / "runs") as (_, address):
        printed = run(code.replace("http://127.0.0.1:8765", address), tmp_path)

    assert printed.startswith("42\n")
