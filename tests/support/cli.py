"""Run the command line in a separate process."""

import os
import subprocess
import sys
from pathlib import Path


def run_cli(
    *argv: object, cwd: Path | None = None, timeout_s: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `kernel-env` with these arguments and additional environment variables."""
    words = [word if isinstance(word, bytes) else os.fsencode(str(word)) for word in argv]
    return subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"kernel_env.cli", *words],
        env={**os.environ, **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a command failed with one error line, the last one of stderr, and return it."""
    assert done.returncode != 0, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *messages, error = done.stderr.strip().splitlines()
    assert error.startswith("error: "), done.stderr
    assert not [line for line in messages if line.startswith("error: ")], done.stderr
    return error
