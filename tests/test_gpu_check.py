"""`make gpu-check` on a machine without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.gpus import install_gpus


def test_a_machine_without_a_gpu_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_gpus(tmp_path / "none", 0, monkeypatch)
    program = Path(__file__).parent / "gpu_check.py"

    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (2, "no GPU found\n", "")
