"""A pack that is interrupted stops, and leaves no process and nothing half-made."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kernel_env import temporary
from support.little_pack import run_pack, write_pack

COUNT = 60
"""So many tasks that few are made before the signal."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all_processes(index: Path, number: signal.Signals) -> None:
    path = write_pack(index)
    head, _, section = path.read_text().partition("[task.fruit-colour]")
    path.write_text(head + "".join(f"[task.colour-{n}]{section}" for n in range(COUNT)))
    program = [sys.executable, "-m", "kernel_env.cli", "tasks", "pack", str(path), "--jobs", "2"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "made" not in (line := process.stderr.readline()):
            assert line, "it ended before a task was made"
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 2
        os.kill(process.pid, number)
        said = process.stderr.read()
    _, alive = psutil.wait_procs(workers, timeout=20)
    for each in alive:
        each.kill()

    assert not alive
    assert not temporary.abandoned()
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "run the command again to resume" in said.splitlines()[-1]
    folder = index.parent / "cache" / "packs" / "little"
    drafts = {each.name[1:].rsplit("-", 2)[0] for each in folder.glob(".*")}
    made = {each.name for each in folder.iterdir() if not each.name.startswith(".")}
    assert 1 <= len(made) < COUNT / 2
    assert all((folder / name / "pack-key").is_file() for name in made)
    assert not drafts or number == signal.SIGKILL
    only = [word for name in made | drafts for word in ("--only", name)]
    assert f"{len(drafts)} made, {len(made)} kept" in run_pack(path, *only)[1]
    assert not list(folder.glob(".*"))
