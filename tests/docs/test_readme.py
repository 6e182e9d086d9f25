"""What the README shows in Python runs, one example after the other, as a user would paste it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.docker
def test_the_examples_run(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) >= 2
    seen = 'print("kept:", right.step({"kind": "execute_code", "code": "x"})[0]["text"])'

    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*examples, seen])],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert "kept: 41" in done.stdout
    assert len(list(tmp_path.glob("runs/adult-income/*/trajectory.ipynb"))) == 4
