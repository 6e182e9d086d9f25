"""Check that wrong options fail before anything is prepared or started."""

import shutil
from pathlib import Path

import pytest

from support.cli import run_cli
from support.gpus import install_gpus

NOTEBOOK = (
    Path(__file__).parents[1] / "data" / "v0.1" / "episodes" / "finished" / "trajectory.ipynb"
)
"""A finished episode of the task `tiny`."""
RUN = ["run", "tiny", "--agent", "baseline"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*RUN, "--steps", 0], "the budget's steps is 0; it must be a positive whole number"),
        ([*RUN, "--steps", -1], "the budget's steps is -1; it must be a positive whole number"),
        ([*RUN, "--seconds", 0], "the budget's seconds is 0.0; it must be a positive number"),
        ([*RUN, "--seconds", "nan"], "the budget's seconds is nan; it must be a positive number"),
        ([*RUN, "--cell-seconds", -1], "the budget's cell_seconds is -1.0"),
        ([*RUN, "--tokens", 0], "the budget's tokens is 0"),
        ([*RUN, "--money", -1], "the budget's money is -1.0"),
        ([*RUN, "--reward", "postion"], "no reward named 'postion'; did you mean 'position'?"),
        ([*RUN, "--reward", "human_rank"], "needs a leaderboard of human teams"),
        ([*RUN, "--sandbox", "dcoker"], "no sandbox named 'dcoker'; did you mean 'docker'?"),
        (
            [*RUN, "--feedback", "private"],
            "no feedback named 'private'; known: both, ladder, public, validity",
        ),
        ([*RUN, "--gpus", -1], "the number of GPUs is -1; it must be 0 or more"),
        ([*RUN, "--gpus", 2], "2 GPUs are asked for, and this machine has 1: 0 (NVIDIA H100"),
        ([*RUN, "--gpu-device", "1"], "no GPU named '1'; known: 0"),
        ([*RUN, "--gpu-device", "0,1"], "no GPU named '1'; known: 0"),
        ([*RUN, "--gpus", 2, "--gpu-device", "0"], "2 GPUs are asked for, and 1 GPU is named (0)"),
        ([*RUN, "--device", "/dev/nope"], "the device '/dev/nope' is not on this machine"),
        ([*RUN, "--device", "/dev/zero:zero"], "named 'zero'; it must be an absolute path"),
        ([*RUN, "--seeds", 0], "the number of seeds is 0; it must be at least 1"),
        (
            ["run", "tiny", "--agent", "basline"],
            "no agent named 'basline'; did you mean 'baseline'?",
        ),
        (["run", "tiny", "--agent", "scripted"], "needs a script; give one with --script"),
        (["run", "tinny", "--agent", "baseline"], "no task named 'tinny'; did you mean 'tiny'?"),
        (
            ["run", "tiny", "nope", "--agent", "baseline"],
            "no task named 'nope'; known: adult-income",
        ),
        (
            ["replay", NOTEBOOK, "--sandbox", "dcoker"],
            "no sandbox named 'dcoker'; did you mean 'docker'?",
        ),
        (
            ["serve", "mcps"],
            "no protocol named 'mcps'; did you mean 'mcp'? known: http, mcp, openenv",
        ),
        (["serve", "http", "--stdio"], "--stdio is for mcp; http is served over the network"),
        (["serve", "http", "--host", "0.0.0.0"], "needs a token; set KERNEL_ENV_TOKEN"),
        (["serve", "http", "--token", "short"], "the token must have at least 16 characters"),
        (["serve", "http", "--idle", 0], "--idle is 0; it must be a positive number of seconds"),
        (["serve", "http", "--tasks", "tiny,tinny"], "no task named 'tinny'; did you mean 'tiny'?"),
        (["serve", "http", "--tasks", "tiny", "--steps", 0], "the budget's steps is 0"),
        (["serve", "http", "--observation-chars", 3], "observation_chars is 3; it must be a whole"),
        (["replay", NOTEBOOK, "--gpus", 2], "2 GPUs are asked for, and this machine has 1"),
        (["replay", NOTEBOOK, "--device", "/dev/nope"], "'/dev/nope' is not on this machine"),
        (["replay", NOTEBOOK, "--task", "tinny"], "no task named 'tinny'; did you mean 'tiny'?"),
        (["replay", "/nowhere.ipynb"], "/nowhere.ipynb cannot be read"),
    ],
    ids=lambda value: " ".join(map(str, value[:1] + value[-2:])) if isinstance(value, list) else "",
)
def test_a_wrong_option_fails_at_once(
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[object],
    message: str,
) -> None:
    install_gpus(tmp_path / "gpus", 1, monkeypatch)
    tasks, cache, runs = (tmp_path / name for name in ("tasks", "cache", "runs"))
    shutil.copytree(tiny, tasks / "tiny")
    cache.mkdir()

    done = run_cli(
        *argv,
        "--out",
        runs,
        KERNEL_ENV_TASKS=str(tasks),
        KERNEL_ENV_CACHE=str(cache),
        # If the engine were asked, stderr would have a second line.
        DOCKER_HOST="unix:///nowhere/docker.sock",
    )

    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(cache.iterdir()) == []
    assert not runs.exists()
