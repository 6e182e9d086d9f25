"""Check `tasks list` and `tasks show`."""

import json
import shutil
from pathlib import Path

from support.cli import run_cli


def test_tasks_are_listed_and_shown() -> None:
    listed = run_cli("tasks", "list", "--json")
    shown = run_cli("tasks", "show", "adult-income")

    rows = {row["task"]: row for row in map(json.loads, listed.stdout.splitlines())}
    assert rows["adult-income"]["metric"] == "roc_auc"
    assert rows["image-segment"]["leaderboard"].startswith("reference (")
    assert rows["adult-income"]["raw_mb"] == 0.18
    assert rows["adult-income"]["readiness"] in ("yes", "first use")
    assert "Adult income" in shown.stdout
    assert "▌ AUC = 1/(|P| |N|) Σ_(i∈P) Σ_(j∈N) ([pᵢ > pⱼ] + 1/2 [pᵢ = pⱼ])" in shown.stdout


def test_an_invalid_task_is_left_out_of_the_list_with_the_reason(task_folder: Path) -> None:
    (task_folder / "description.md").unlink()

    listed = run_cli("tasks", "list", "--json", KERNEL_ENV_TASKS=str(task_folder.parent))

    assert "adult-income" in listed.stdout
    assert "tiny" not in [json.loads(line)["task"] for line in listed.stdout.splitlines()]
    (line,) = listed.stderr.splitlines()
    assert line.startswith(f"tiny: left out: {task_folder}/description.md is missing")


def test_a_list_of_many_tasks_loads_no_slow_library(tiny: str, tmp_path: Path) -> None:
    for number in range(20):
        folder = shutil.copytree(tiny, tmp_path / f"task-{number}")
        toml = (folder / "task.toml").read_text()
        (folder / "task.toml").write_text(toml.replace('"tiny"', f'"task-{number}"'))

    listed = run_cli(
        "tasks", "list", "--json", KERNEL_ENV_TASKS=str(tmp_path), PYTHONPROFILEIMPORTTIME="1"
    )

    loaded = {line.rpartition("|")[2].strip() for line in listed.stderr.splitlines()}
    assert "kernel_env.tasks.spec" in loaded
    assert not loaded & {
        "numpy",
        "pandas",
        "sklearn",
        "docker",
        "jupyter_client",
        "nbformat",
        "zmq",
    }
    assert len(listed.stdout.splitlines()) >= 22
