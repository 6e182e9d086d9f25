"""Run the command line in a separate process."""

import os
import subprocess
import sys


def run_cli(*argv: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `kernel-env` with these arguments and additional environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "kernel_env.cli", *map(str, argv)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
