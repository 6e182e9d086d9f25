"""`kernel-env tasks check` as people use it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOUND = [
    ("schema", "ok"),
    ("prepare", "ok"),
    ("ids", "ok"),
    ("rows", "ok"),
    ("near-duplicate rows", "ok"),
    ("near-duplicate texts", "not applicable"),
    ("files", "not applicable"),
    ("near-duplicate pictures", "not applicable"),
    ("public files", "ok"),
    ("leak columns", "ok"),
    ("order of rows", "ok"),
    ("ids as features", "ok"),
    ("leaderboard", "ok"),
    ("sample submission", "ok"),
    ("constant answer", "ok"),
    ("oracle", "ok"),
    ("empty agent", "ok"),
]


def cli(*argv: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernel_env.cli", "tasks", "check", *map(str, argv)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.docker
def test_a_sound_task_passes_and_in_its_container_every_cheat_fails(tiny: str) -> None:
    done = cli(tiny, "--sandbox", "docker", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout
    assert {row["task"] for row in rows} == {"tiny"}
    assert [(row["check"], row["verdict"]) for row in rows[: len(SOUND)]] == SOUND
    assert [(row["check"], row["verdict"], row["text"]) for row in rows[len(SOUND) :]] == [
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


def test_a_broken_task_is_named_and_the_exit_code_says_so(tasks: Path, tmp_path: Path) -> None:
    shutil.copytree(tasks, tmp_path / "more" / "tiny")
    (tmp_path / "more" / "tiny" / "NOTICE").unlink()
    board = tasks / "leaderboard.csv"
    board.write_text(board.read_text().replace("0.11,0.11", "-1,-1"))

    done = cli(tmp_path / "more" / "tiny", tasks, "--fast", "--sandbox", "local")

    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[:4] == [
        "tiny",
        f"  FAILED   schema                   {tmp_path}/more/tiny/NOTICE is missing; a task folder"
        " needs it",
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
        "  13 ok, 1 failed, 3 not applicable, 2 not run",
    ]
    assert done.stderr.splitlines()[-2:] == ["0 of 2 tasks passed", "failed: tiny, tiny"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "error: say which tasks are to be checked, or --all (not both)"),
        (["tiny", "--all"], "error: say which tasks are to be checked, or --all (not both)"),
        (["nope"], "error: no task named 'nope'; known: adult-income"),
    ],
)
def test_what_cannot_be_checked_is_one_clear_line(argv: list[str], complaint: str) -> None:
    done = cli(*argv)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(complaint)
    assert len(done.stderr.splitlines()) == 1
