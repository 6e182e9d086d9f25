"""Check that an installed wheel contains the tasks and the images."""

import json
import subprocess
import sys
from pathlib import Path

from support.embedded_tasks import EMBEDDED, ROOT


def test_the_wheel_works_outside_the_clone(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = [*pip, "install", "-q", "--no-deps", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*install, wheel], check=True, capture_output=True)

    program = "from kernel_env.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "tasks", "list", "--json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line)["task"] for line in done.stdout.splitlines()] == EMBEDDED
    assert done.stderr == ""
    assert (tmp_path / "site" / "kernel_env" / "_images" / "base" / "Dockerfile").is_file()
