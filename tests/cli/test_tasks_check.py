"""Check `tasks check`: findings, exit code and errors."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.cli import error_line, run_cli
from support.gpus import install_gpus

VALID_TASK = [
    ("schema", "ok"),
    ("publication", "not applicable"),
    ("prepare", "ok"),
    ("ids", "ok"),
    ("rows", "ok"),
    ("near-duplicate rows", "ok"),
    ("near-duplicate texts", "not applicable"),
    ("files", "not applicable"),
    ("near-duplicate pictures", "not applicable"),
    ("public files", "ok"),
    ("leak columns", "ok"),
    ("leak pairs", "not applicable"),
    ("order of rows", "ok"),
    ("ids as features", "ok"),
    ("leaderboard", "ok"),
    ("sample submission", "ok"),
    ("constant answer", "ok"),
    ("oracle", "ok"),
    ("empty agent", "ok"),
]


def run_check(*argv: object) -> subprocess.CompletedProcess[str]:
    return run_cli("tasks", "check", *argv)


@pytest.mark.docker
def test_a_valid_task_passes_and_every_exploit_fails_in_its_container(tiny: str) -> None:
    done = run_check(tiny, "--sandbox", "docker", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout
    assert {row["task"] for row in rows} == {"tiny"}
    assert [(row["check"], row["verdict"]) for row in rows[: len(VALID_TASK)]] == VALID_TASK
    assert [(row["check"], row["verdict"], row["text"]) for row in rows[len(VALID_TASK) :]] == [
        ("cheat: forbidden paths", "ok", "obtained nothing"),
        ("cheat: answers", "ok", "obtained nothing"),
        ("cheat: environment", "ok", "obtained nothing"),
        ("cheat: network", "ok", "obtained nothing"),
        ("cheat: processes", "ok", "obtained nothing"),
        ("cheat: forged messages", "ok", "kernel messages that claim a grade change no score"),
        (
            "cheat: links",
            "ok",
            "4 of 6 kinds were rejected, the others could not be created",
        ),
        ("solution", "not applicable", "there is no solution.ipynb"),
    ]


def test_an_invalid_task_is_named_and_the_exit_code_is_1(task_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(task_folder, tmp_path / "more" / "tiny")
    (tmp_path / "more" / "tiny" / "prepare.py").unlink()
    leaderboard = task_folder / "leaderboard.csv"
    leaderboard.write_text(leaderboard.read_text().replace("0.11,0.11", "-1,-1"))

    done = run_check(tmp_path / "more" / "tiny", task_folder, "--fast", "--sandbox", "local")

    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[:4] == [
        "tiny",
        f"  FAILED   schema                   {tmp_path}/more/tiny/prepare.py is missing; a task"
        " folder needs it",
        "  1 failed",
        "tiny",
    ]
    assert [line for line in lines[3:] if "FAILED" in line] == [
        "  FAILED   oracle                   the answers score 0 / 0 and rank 2 of 4, expected"
        " rank 1; check the metric's direction, the answers and leaderboard.csv"
    ]
    assert lines[-3:] == [
        "  not run  cheats                   the sandbox 'local' does not isolate; use a container",
        "  not run  solution                 skipped because of --fast",
        "  13 ok, 1 failed, 5 not applicable, 2 not run",
    ]
    assert done.stderr.splitlines()[-2:] == ["0 of 2 tasks passed", "failed: tiny, tiny"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: give either the tasks to check or --all"),
        (["tiny", "--all"], "error: give either the tasks to check or --all"),
        (["nope"], "error: no task named 'nope'; known: adult-income"),
        (["tiny", "--gpus", "-1"], "error: the number of GPUs is -1; it must be 0 or more"),
        (["tiny", "--gpu-device", "no-such"], "error: no GPU named 'no-such'; known: "),
    ],
)
def test_a_wrong_request_is_one_error_line(argv: list[str], message: str) -> None:
    done = run_check(*argv)

    assert done.returncode == 2
    assert error_line(done).startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_a_solution_that_needs_a_missing_gpu_is_not_run(
    task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_gpus(tmp_path / "none", 0, monkeypatch)
    with (task_folder / "task.toml").open("a") as file:
        file.write("gpus = 2\n")
    (task_folder / "solution.ipynb").write_text("not a notebook")

    done = run_check(task_folder, "--sandbox", "local")

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert lines[-2] == (
        "  not run  solution                 tiny needs a GPU: 2 GPUs are asked for, and this machine"
        " has none; --gpus 0 runs it without"
    )
    assert done.stderr == "" or "ISOLATED" in done.stderr
